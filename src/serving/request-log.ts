// Request logs: a sample of a model's calls, written to TFRecord files that a version can be warmed up with. A call is
// never held up: what the disk does not take in time is dropped, and counted.
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../clock.js";
import { Code, errorMessage } from "../status.js";
import type { Logger } from "../telemetry/index.js";
import type { ConfiguredModel } from "./model-config.js";
import type { ServableId } from "./servable.js";
import { frameRecord } from "./tf-record.js";

/** What a record says of its call beside the request and the response. */
export interface RequestLogRecord {
  readonly servableId: ServableId;
  readonly signatureName: string;
  readonly samplingRate: number;
  readonly timestampSecs: number;
}

/** Where one call is to be written down. */
export interface RequestLog {
  readonly samplingRate: number;
  /** False, and counted as dropped, when there is no room for a record of about so many bytes: none need be made then. */
  hasRoom(bytes: number): boolean;
  /** Takes the serialized PredictionLog, and returns at once. */
  write(record: Uint8Array): void;
}

/** Asked once for every call. */
export interface RequestSampler {
  /** undefined: this call is not logged. */
  sample(model: string): RequestLog | undefined;
}

export interface RequestLogsOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** A file that has grown to this is followed by another. Default 64 MiB. */
  readonly maxFileBytes?: number;
  /** Records that wait for the disk, of all calls of a model; more are dropped. Default 16 MiB. */
  readonly maxQueuedBytes?: number;
  /** In [0, 1). */
  readonly random?: () => number;
  /** Told what became of every record: OK, RESOURCE_EXHAUSTED when it was dropped, or DATA_LOSS. */
  readonly onRecord?: (model: string, code: Code) => void;
}

/** The request logs of all models. */
export class RequestLogs implements RequestSampler {
  readonly #options: RequestLogsOptions;
  readonly #random: () => number;
  readonly #writers = new Map<string, { readonly samplingRate: number; readonly writer: RequestLogWriter }>();
  readonly #closing = new Set<Promise<void>>();

  constructor(options: RequestLogsOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  /** Follows a configuration: logs whose prefix stays the same go on with their file. */
  configure(models: Iterable<ConfiguredModel>): void {
    const wanted = new Map([...models].map((model) => [model.name, model.loggingConfig]));
    for (const [name, { writer }] of [...this.#writers]) {
      if (wanted.get(name)?.logCollectorConfig?.filenamePrefix === writer.prefix) continue;
      this.#writers.delete(name);
      const closing = writer.close().finally(() => this.#closing.delete(closing));
      this.#closing.add(closing);
    }
    for (const [name, config] of wanted) {
      const prefix = config?.logCollectorConfig?.filenamePrefix ?? "";
      const samplingRate = config?.samplingConfig?.samplingRate ?? 0;
      if (prefix === "") continue;
      const writer = this.#writers.get(name)?.writer ?? new RequestLogWriter(name, prefix, this.#options);
      this.#writers.set(name, { samplingRate, writer });
    }
  }

  sample(model: string): RequestLog | undefined {
    const log = this.#writers.get(model);
    if (log === undefined || this.#random() >= log.samplingRate) return undefined;
    const { samplingRate, writer } = log;
    return {
      samplingRate,
      hasRoom: (bytes) => writer.hasRoom(bytes),
      write: (record) => writer.write(record),
    };
  }

  /** Resolves when all that was taken is on disk. */
  async close(): Promise<void> {
    this.configure([]);
    await Promise.all(this.#closing);
  }
}

/** Writes one model's records, one file after the other: PREFIX-20260131T235959-1.tfrecord and so on. */
class RequestLogWriter {
  readonly prefix: string;
  readonly #model: string;
  readonly #options: RequestLogsOptions;
  readonly #maxFileBytes: number;
  readonly #maxQueuedBytes: number;
  #queue: Uint8Array[] = [];
  #queuedBytes = 0;
  #draining: Promise<void> | undefined;
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #files = 0;
  #lastError = "";

  constructor(model: string, prefix: string, options: RequestLogsOptions) {
    this.#model = model;
    this.prefix = prefix;
    this.#options = options;
    this.#maxFileBytes = options.maxFileBytes ?? 64 * 1024 * 1024;
    this.#maxQueuedBytes = options.maxQueuedBytes ?? 16 * 1024 * 1024;
  }

  hasRoom(bytes: number): boolean {
    if (this.#queuedBytes + bytes <= this.#maxQueuedBytes) return true;
    this.#tell(Code.RESOURCE_EXHAUSTED);
    return false;
  }

  write(record: Uint8Array): void {
    if (!this.hasRoom(record.length)) return;
    this.#queue.push(record);
    this.#queuedBytes += record.length;
    this.#draining ??= this.#drain();
  }

  async close(): Promise<void> {
    await this.#draining;
    await this.#closeFile();
  }

  async #drain(): Promise<void> {
    // Calls that come while the disk works are written together, after it.
    while (this.#queue.length > 0) {
      const records = this.#queue;
      this.#queue = [];
      try {
        await this.#append(records);
        this.#lastError = "";
      } catch (error) {
        await this.#fail(error);
      }
      for (const record of records) this.#queuedBytes -= record.length;
    }
    this.#draining = undefined;
  }

  async #append(records: readonly Uint8Array[]): Promise<void> {
    let done = 0;
    try {
      for (const record of records) {
        const file = this.#file ?? (await this.#openFile());
        const frame = frameRecord(record);
        await file.appendFile(frame);
        done += 1;
        this.#tell(Code.OK);
        this.#fileBytes += frame.length;
        if (this.#fileBytes >= this.#maxFileBytes) await this.#closeFile();
      }
    } catch (error) {
      for (; done < records.length; done++) this.#tell(Code.DATA_LOSS);
      throw error;
    }
  }

  async #openFile(): Promise<FileHandle> {
    await mkdir(dirname(this.prefix), { recursive: true });
    const time = new Date(this.#options.clock.wallTime()).toISOString().replace(/[-:]|\.\d+Z$/g, "");
    for (;;) {
      this.#files += 1;
      try {
        // Never one that is there: a file is the work of one process.
        this.#file = await open(`${this.prefix}-${time}-${this.#files}.tfrecord`, "ax");
        this.#fileBytes = 0;
        return this.#file;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
    }
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  /** A record that was cut off would hide all that follow it, so the next one begins a new file. */
  async #fail(error: unknown): Promise<void> {
    const reason = errorMessage(error);
    if (reason !== this.#lastError) {
      this.#options.logger.error("requests could not be logged", { model: this.#model, prefix: this.prefix, reason });
    }
    this.#lastError = reason;
    await this.#closeFile().catch(() => {});
  }

  #tell(code: Code): void {
    this.#options.onRecord?.(this.#model, code);
  }
}
