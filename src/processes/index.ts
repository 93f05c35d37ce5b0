export { ConnectionDispatcher, type ConnectionTaker } from "./connection-dispatcher.js";
export {
  type Answers,
  type Arrival,
  isEnded,
  type Offer,
  ProcessChannel,
  type ProcessPort,
} from "./process-channel.js";
export { type ProcessEnd, SupervisedProcess } from "./supervised-process.js";
