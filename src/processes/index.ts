export { ConnectionDispatcher, type ConnectionTaker } from "./connection-dispatcher.js";
export {
  type Answers,
  type Arrival,
  type Offer,
  ProcessChannel,
  ProcessEnded,
  type ProcessPort,
} from "./process-channel.js";
export { type ProcessEnd, SupervisedProcess } from "./supervised-process.js";
