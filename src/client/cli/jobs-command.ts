// onnxd jobs.
import { invalidArgument } from "../../status.js";
import { type JobFilter, TrainingClient } from "../training/training-client.js";
import { isJobState, type TrainingJob } from "../training/training-messages.js";
import { type Command, type CommandIo, type CommandLine, sharedHelp } from "./command-line.js";
import { followJob } from "./follow-job.js";
import { formatJob, formatJobs } from "./format-job.js";
import { jobJson } from "./job-progress.js";

const help = `usage: onnxd jobs [--model NAME] [--state STATE…] [--limit N]
       onnxd jobs ID [--watch | --cancel | --publish | --delete]

Without an ID, the jobs of the server, newest first; with one, all that is known of it.

  --model NAME         only jobs of this model
  --state STATE        only jobs in this state: pending, running, evaluating, publishing, succeeded, failed or
                       cancelled; may be repeated
  --limit N            so many jobs, at most (default 100)
  --watch              its events from the first on, until it ends; Ctrl-C ends the watching, not the job
  --cancel             stop it between two steps
  --publish            publish the candidate that it held back, and wait until the version is served
  --delete             remove it, with its data; what it published stays
${sharedHelp("host:port, grpc://…, grpcs://… or unix:/path").slice(1)}
With --json, each job, or each event of --watch, is a line of JSON.
`;

const actions = ["watch", "cancel", "publish", "delete"] as const;
type Action = (typeof actions)[number];

export const jobsCommand: Command = {
  help,
  flags: {
    model: { type: "string" },
    state: { type: "string", multiple: true },
    limit: { type: "string" },
    watch: { type: "boolean" },
    cancel: { type: "boolean" },
    publish: { type: "boolean" },
    delete: { type: "boolean" },
  },
  prepare(line, io) {
    const [id, ...others] = line.words;
    if (others.length > 0) throw invalidArgument("onnxd jobs takes one job's id, or none");
    const chosen = actions.filter((action) => line.has(action));
    if (chosen.length > 1) throw invalidArgument(`--${chosen[0]} and --${chosen[1]} do not go together`);
    if (id === undefined && chosen.length > 0) throw invalidArgument(`--${chosen[0]} takes a job's id`);
    const filter = readFilter(line);
    const limit = Number(line.wholeNumber("limit") ?? 100n);
    if (id !== undefined && ["model", "state", "limit"].some((flag) => line.given(flag))) {
      throw invalidArgument("--model, --state and --limit choose among jobs; got the id of one");
    }
    const client = new TrainingClient(line.target, line.clientOptions);
    return async () => {
      try {
        if (id === undefined) return await list(client, { ...filter, ...line.callOptions }, limit, line, io);
        return await act(client, id, chosen[0], line, io);
      } finally {
        client.close();
      }
    };
  },
};

function readFilter(line: CommandLine): JobFilter {
  const model = line.text("model");
  const states = line.texts("state").map((text) => {
    const state = text.toUpperCase();
    if (!isJobState(state)) throw invalidArgument(`--state: there is no state "${text}"`);
    return state;
  });
  return { states, ...(model !== undefined && { model }) };
}

async function list(
  client: TrainingClient,
  filter: JobFilter,
  limit: number,
  line: CommandLine,
  io: CommandIo,
): Promise<number> {
  const jobs: TrainingJob[] = [];
  if (limit > 0) {
    for await (const job of client.listJobs(filter)) {
      jobs.push(job);
      if (jobs.length === limit) break;
    }
  }
  if (line.json) for (const job of jobs) io.out(jobJson(job));
  else io.out(jobs.length === 0 ? "No jobs\n" : formatJobs(jobs));
  return 0;
}

async function act(
  client: TrainingClient,
  id: string,
  action: Action | undefined,
  line: CommandLine,
  io: CommandIo,
): Promise<number> {
  const show = (job: TrainingJob, text: string) => {
    io.out(line.json ? jobJson(job) : text);
    return 0;
  };
  const options = line.callOptions;
  switch (action) {
    case undefined: {
      const job = await client.getJob(id, options);
      return show(job, formatJob(job, line.program, io.columns));
    }
    case "watch":
      return await followJob((following) => client.watchJob(id, { ...options, ...following }), io, {
        json: line.json,
        program: line.program,
      });
    case "cancel":
      return show(await client.cancelJob(id, options), `Job ${id} is cancelled\n`);
    case "publish": {
      const job = await client.publish(id, options);
      return show(job, `Published as version ${job.publishedVersion} of "${job.spec?.model}"\n`);
    }
    case "delete":
      await client.deleteJob(id, options);
      io.out(line.json ? "{}\n" : `Job ${id} is deleted\n`);
      return 0;
  }
}
