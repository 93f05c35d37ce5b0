import { invalidArgument } from "../../status.js";
import type { Job } from "../../training/index.js";

const defaultPageSize = 100;
const maxPageSize = 1000;

export interface JobPage {
  readonly page: readonly Job[];
  /** "": it is the last. */
  readonly nextPageToken: string;
}

/**
 * A page of a list that is newest first. Jobs that come and go in between neither shift nor repeat the others: a token
 * says after which job the page begins, and when that job was made, should it be gone by then.
 */
export function jobPage(jobs: readonly Job[], pageSize: number, pageToken: string): JobPage {
  if (pageSize < 0) throw invalidArgument(`page_size must be 0 or more; got ${pageSize}`);
  const size = pageSize === 0 ? defaultPageSize : Math.min(pageSize, maxPageSize);
  const rest = pageToken === "" ? jobs : jobs.slice(startOf(jobs, readToken(pageToken)));
  const page = rest.slice(0, size);
  return { page, nextPageToken: rest.length > size ? makeToken(page.at(-1)!) : "" };
}

const tokenPattern = /^after:(?<created>\d+):(?<id>.+)$/s;

function makeToken({ created, id }: Job): string {
  return Buffer.from(`after:${created}:${id}`).toString("base64url");
}

function readToken(token: string): { readonly created: number; readonly id: string } {
  const groups = tokenPattern.exec(Buffer.from(token, "base64url").toString())?.groups;
  if (groups === undefined) throw invalidArgument("page_token is none that ListJobs returned");
  return { created: Number(groups["created"]), id: groups["id"]! };
}

function startOf(jobs: readonly Job[], { created, id }: { readonly created: number; readonly id: string }): number {
  const last = jobs.findIndex((job) => job.id === id);
  if (last !== -1) return last + 1;
  const older = jobs.findIndex((job) => job.created < created || (job.created === created && job.id < id));
  return older === -1 ? jobs.length : older;
}
