import type { ThreadPlan } from "../thread-plan.js";
import type { SessionThreads } from "./native-session.js";

/** Sessions side by side must not take each other's CPU by waiting busily; one alone may. */
export function sessionThreads({ poolSize, intraOpThreads }: ThreadPlan): SessionThreads {
  return { intraOpThreads, spinning: poolSize === 1 && intraOpThreads > 1 };
}

/** On the serving thread a run uses that thread and no other. */
export const inlineThreads: SessionThreads = { intraOpThreads: 1, spinning: false };
