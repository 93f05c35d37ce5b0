import type { Writable } from "node:stream";
import winston from "winston";
import { type Clock, systemClock } from "../clock.js";
import { type AccessLog, createAccessLog, silentAccessLog } from "./access-log.js";
import { formatLine, type LogFormat, type LogLevel, timestampOf } from "./log-format.js";
import { LogOutput } from "./log-output.js";
import type { LogFields, Logger } from "./logger.js";

export interface LoggerOptions {
  /** The least that is written. */
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Default: standard output. */
  readonly stream?: Writable;
  readonly clock?: Clock;
}

/** The server's log: made once, at start, and flushed once, at exit. */
export interface RootLogger extends Logger {
  readonly accessLog: AccessLog;
  /** Resolves when everything logged so far has left the process, however slow the reader is. */
  flush(): Promise<void>;
  /** Lines left out because the reader could not keep up, or the disk was full. */
  droppedLines(): number;
}

/**
 * Logging through winston: one transport, that writes lines to one stream. Under pressure access lines and debug lines
 * are left out first and counted; see LogOutput.
 */
export function createLogger({
  level,
  format,
  stream = process.stdout,
  clock = systemClock,
}: LoggerOptions): RootLogger {
  const output = new LogOutput(stream, (lines) =>
    root.warn(`${lines} lines were left out of this log: its reader was slow, or its disk full.`, {
      dropped_lines: lines,
    }),
  );
  const log = winston.createLogger({ level, transports: [new OutputTransport(output, format, clock)] });
  const root: RootLogger = {
    ...levels(log, {}),
    accessLog: log.isLevelEnabled("info") ? createAccessLog(output, format, clock) : silentAccessLog,
    flush: () => output.flush(),
    droppedLines: () => output.dropped,
  };
  return root;
}

/** What goes through winston. The fields stay apart until the line is made: winston treats some names as its own. */
interface Entry {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

function levels(log: winston.Logger, own: LogFields): Logger {
  const write = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (!log.isLevelEnabled(level)) return;
    const entry: Entry = { level, message, fields: fields === undefined ? own : { ...own, ...fields } };
    log.log(entry);
  };
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: (fields) => levels(log, { ...own, ...fields }),
  };
}

// winston exports this class; its type declarations only know the type.
const { Transport } = winston as unknown as { Transport: new () => winston.transport };

class OutputTransport extends Transport {
  readonly #output: LogOutput;
  readonly #format: LogFormat;
  readonly #clock: Clock;

  constructor(output: LogOutput, format: LogFormat, clock: Clock) {
    super();
    this.#output = output;
    this.#format = format;
    this.#clock = clock;
  }

  override log({ level, message, fields }: Entry, done: () => void): void {
    const line = formatLine(this.#format, timestampOf(this.#clock.wallTime()), level, message, fields);
    this.#output.write(line, level === "debug");
    done();
  }
}
