import type { Servable, ServableHandle } from "../servable.js";

/** Who lends a servable, and counts what is lent. */
export interface Lender {
  handleReturned(): void;
}

/** Counts as open from its making until it is first disposed of; further disposals do nothing. */
export class CountedServableHandle implements ServableHandle {
  readonly servable: Servable;
  #lender: Lender | undefined;

  constructor(servable: Servable, lender: Lender) {
    this.servable = servable;
    this.#lender = lender;
  }

  [Symbol.dispose](): void {
    const lender = this.#lender;
    this.#lender = undefined;
    lender?.handleReturned();
  }
}
