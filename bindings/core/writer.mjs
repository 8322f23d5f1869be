// The TypeScript of what bindings/core/reader.mjs found: constants, interfaces of the modules, views of records, rules.

const TITLE = "// Generated from assembly/ by bindings/core/generate.mjs. Do not edit.\n";

/** A doc comment at an indent, on one line as it was written for. */
function comment(doc, indent = "") {
  return doc === "" ? "" : `${indent}/** ${doc} */\n`;
}

/** The words that a broken rule is reported by: its comment, as part of a sentence. */
function words({ name, doc }) {
  if (doc === "") throw new Error(`assembly: the rule ${name} has no comment that says what it demands`);
  return doc.replace(/\.$/, "").replace(/^[A-Z](?=[a-z]* )/, (letter) => letter.toLowerCase());
}

/** Constants that one name means everywhere; a name that stands for two values is left out, and the file says so. */
export function writeConstants(constants) {
  const values = new Map();
  for (const { name, value } of constants) values.set(name, new Set([...(values.get(name) ?? []), value]));
  const written = new Set();
  let out = TITLE;
  let last = "";
  for (const { name, file, wide, value } of constants) {
    if (written.has(name)) continue;
    written.add(name);
    if (file !== last) out += `\n// ${file}\n`;
    last = file;
    out += values.get(name).size > 1 ? `// ${name} stands for different values in different files.\n` : "";
    if (values.get(name).size === 1) out += `export const ${name} = ${value}${wide ? "n" : ""};\n`;
  }
  return out + writeCounters(constants);
}

function camel(words) {
  return words.toLowerCase().replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
}

function writeCounters(constants) {
  const counters = constants.filter(({ file, name }) => file === "assembly/record/counters.ts" && /^C_/.test(name));
  const names = counters.map(({ name }) => camel(name.slice("C_".length)));
  return (
    "\n/** Names of the counters, in the order of assembly/record/counters.ts. */\n" +
    `export const COUNTER_NAMES = ${JSON.stringify(names)} as const;\n`
  );
}

/** What the debug builds check: preconditions (RULE_*) and the discipline of locks (BREACH_*), by number. */
export function writeRules(constants) {
  const rules = (prefix) => {
    const found = constants.filter(({ name }) => name.startsWith(prefix));
    const lines = found.map(
      (rule) => `  [${rule.value}, [${JSON.stringify(rule.name)}, ${JSON.stringify(words(rule))}]],\n`,
    );
    return `new Map([\n${lines.join("")}])`;
  };
  const type = "ReadonlyMap<number, readonly [name: string, words: string]>";
  return (
    `${TITLE}\n/** Preconditions of assembly/demand.ts: name and words. */\n` +
    `export const RULES: ${type} = ${rules("RULE_")};\n` +
    "\n/** The discipline of locks and read sections, assembly/memory/guard.ts. */\n" +
    `export const BREACHES: ${type} = ${rules("BREACH_")};\n`
  );
}

const WIDE = new Set(["i64", "u64"]);

function scriptType(type) {
  if (type === "void") return "void";
  return WIDE.has(type) ? "bigint" : "number";
}

function writeFunction({ name, doc, parameters, result }) {
  const list = parameters.map((parameter) => `${parameter.name}: ${scriptType(parameter.type)}`).join(", ");
  return `${comment(doc, "  ")}  ${name}(${list}): ${scriptType(result)};\n`;
}

function writeInterface(name, doc, functions) {
  return `\n${comment(doc)}export interface ${name} {\n${functions.map(writeFunction).join("")}}\n`;
}

/** Interfaces of the modules, and of what the host gives them. `bool` is 0 or 1; a u32 comes signed: `>>> 0` is the caller's. */
export function writeInterfaces(modules, core) {
  const own = modules.map(({ entry, type }) => {
    const doc = `What ${entry} exports. A u32 result comes signed: \`>>> 0\` makes it one; a bool is 0 or 1.`;
    return writeInterface(type, doc, core.exports.get(entry));
  });
  const host = writeInterface("Host", "What the core imports: functions of the host.", core.imports);
  return TITLE + own.join("") + host;
}

// --- views --------------------------------------------------------------------------------------

const BITS = { bool: 8, i8: 8, u8: 8, i16: 16, u16: 16 };

/** A getter, and a setter where the host writes the record. */
function accessors(name, type, at, value, writes) {
  const setter = writes ? `  set ${name}(value: ${type}) {\n    ${at} = value;\n  }\n` : "";
  return `  get ${name}(): ${type} {\n    return ${value};\n  }\n${setter}`;
}

/** Accessors of a 32-bit field. */
function word(name, type, offset, writes) {
  const at = `this.${type === "i32" ? "i32" : "u32"}[this.word + ${offset / 4}]`;
  return accessors(name, "number", at, `${at} as number`, writes);
}

/** Accessors of a 64-bit field: as a bigint, and with "halves" as two numbers, for those who must not allocate. */
function wide({ name, type, offset }, options) {
  const writes = options.includes("writes");
  const at = `this.u64[(this.word >>> 1) + ${offset / 8}]`;
  const value = type === "i64" ? `BigInt.asIntN(64, ${at} as bigint)` : `${at} as bigint`;
  const whole = accessors(name, "bigint", at, value, writes);
  if (!options.includes("halves")) return whole;
  return whole + word(`${name}Low`, "u32", offset, writes) + word(`${name}High`, "u32", offset + 4, writes);
}

/** A field of less than a word can be read. */
function narrow({ name, type, offset }) {
  const bits = BITS[type];
  if (bits === undefined) throw new Error(`a view cannot show ${name}: ${type}`);
  const shift = (offset % 4) * 8;
  const at = `(this.u32[this.word + ${offset >> 2}] as number)`;
  const value = type.startsWith("i")
    ? `(${at} << ${32 - bits - shift}) >> ${32 - bits}`
    : `(${at} >>> ${shift}) & ${2 ** bits - 1}`;
  return accessors(name, "number", "", value, false);
}

/** Names that a view itself has; see bindings/core/view.ts. */
const RESERVED = new Set(["at", "word", "u32", "i32", "u64"]);

function writeField(field, options) {
  if (RESERVED.has(field.name)) throw new Error(`a view has ${field.name} itself: give the field another name`);
  if (WIDE.has(field.type)) return wide(field, options);
  const isWord = ["i32", "u32", "pointer"].includes(field.type);
  return isWord ? word(field.name, field.type, field.offset, options.includes("writes")) : narrow(field);
}

function writeView({ name, options, file, bytes, fields }) {
  const about = `${name} of ${file}, where its fields are described.`;
  return (
    `\n${comment(about)}export class ${name}View extends View {\n  static readonly BYTES = ${bytes};\n` +
    `${fields.map((field) => writeField(field, options)).join("")}}\n`
  );
}

/** Views of the records of one room: reading and writing them takes no allocation. */
export function writeViews(records) {
  const taken = new Set();
  for (const { name } of records) {
    if (taken.has(name)) throw new Error(`assembly: two records of one room are named ${name}`);
    taken.add(name);
  }
  return `${TITLE}\nimport { View } from "./view.js";\n${records.map(writeView).join("")}`;
}

/** Records by room: the folder of assembly/ that they are in. */
export function byRoom(records) {
  const rooms = new Map();
  for (const record of records) {
    const [, folder] = record.file.split("/"),
      room = record.options.includes("inside") ? `${folder}-inside` : folder;
    rooms.set(room, [...(rooms.get(room) ?? []), record]);
  }
  return rooms;
}
