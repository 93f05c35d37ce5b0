// Writes docs/flags.md from the table in src/config.ts (compiled); with --check, only says whether it is up to date.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { flags, refused } = await import(join(root, "dist", "src", "config.js"));
const target = join(root, "docs", "flags.md");

const rows = (standing) =>
  Object.entries(flags)
    .filter(([, flag]) => flag.standing === standing)
    .map(([name, flag]) => {
      const value = flag.default === undefined ? "" : flag.default === "" ? '`""`' : `\`${flag.default}\``;
      const choices = flag.oneOf === undefined ? "" : ` One of ${flag.oneOf.join(", ")}.`;
      return `| \`--${name}\` | ${flag.type} | ${value} | ${flag.doc}${choices} |`;
    });
const table = (standing) => ["| Flag | Type | Default | Meaning |", "|---|---|---|---|", ...rows(standing), ""];

const page = [
  "# Flags",
  "",
  "Written from the table in `src/config.ts` by `npm run docs`; `onnxd --help` prints the same.",
  "",
  "A flag is written `--name=value` or `--name value`, with underscores or dashes; a bare `--name` turns a bool on. `ONNXD_NAME` in the",
  "environment does the same; the command line wins. Unknown flags and values out of range are refused by name.",
  "",
  "## TensorFlow Serving's flags",
  "",
  ...table("compatible"),
  "## Our own",
  "",
  ...table("own"),
  "## Accepted without effect",
  "",
  "Start-up logs a line for each of these that is given.",
  "",
  ...table("ignored"),
  ...(Object.keys(refused).length === 0
    ? []
    : [
        "## Refused",
        "",
        "TensorFlow Serving's flags that would change what clients get and cannot be honoured: any value but the harmless one is refused.",
        "",
        "| Flag | Harmless | Reason |",
        "|---|---|---|",
        ...Object.entries(refused).map(
          ([name, { harmless, reason }]) =>
            `| \`--${name}\` | ${harmless.map((value) => `\`${value === "" ? '""' : value}\``).join(", ")} | ${reason} |`,
        ),
        "",
      ]),
].join("\n");

if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== page) {
    console.error("docs/flags.md is not what src/config.ts says; run npm run docs");
    process.exit(1);
  }
} else writeFileSync(target, page);
