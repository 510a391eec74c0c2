// A constitution: which actions members can propose, when a proposal is accepted, and what each action does.
// Part 1: what arguments may be. A check returns nothing if a value is all right, and otherwise what it must be.

const is = {
  string: (value) => (typeof value === "string" ? undefined : "must be a string"),
  text: (value) => (typeof value === "string" && value !== "" ? undefined : "must be a string that is not empty"),
  boolean: (value) => (typeof value === "boolean" ? undefined : "must be true or false"),
  object: (value) => (typeof value === "object" && value !== null && !Array.isArray(value) ? undefined : "must be an object"),
  array: (value) => (Array.isArray(value) ? undefined : "must be an array"),
  id: (value) =>
    typeof value === "string" && /^[0-9a-fA-F]{64}$/.test(value) ? undefined : "must be an id: 64 hexadecimal digits",
  certificates: (value) =>
    typeof value === "string" && ccf.crypto.isValidX509CertBundle(value)
      ? undefined
      : "must be a valid X509 certificate (bundle) in PEM format",
  whole: (least, most) => (value) =>
    Number.isInteger(value) && value >= least && value <= most ? undefined : `must be an integer from ${least} to ${most}`,
  oneOf: (...known) => (value) => (known.includes(value) ? undefined : `must be one of ${known.join(", ")}`),
};

// An argument that may be left out.
const optional = (check) => (value) => (value === undefined || value === null ? undefined : check(value));

function require(value, check, field) {
  const wrong = check(value);
  if (wrong !== undefined) throw new Error(`${field} ${wrong}`);
}

// Checks each field of an object by its own check; fields that nobody knows are let be.
function requireFields(object, checks, where = "") {
  require(object, is.object, where === "" ? "args" : where);
  for (const [field, check] of Object.entries(checks)) require(object[field], check, where === "" ? field : `${where}.${field}`);
}

function requireNothing(args) {
  const empty = args === undefined || args === null || (typeof args === "object" && Object.keys(args).length === 0);
  if (!empty) throw new Error("args must be left out");
}

// Tables.
const SINGLETON = new ArrayBuffer(8);
const table = (name) => ccf.kv[`public:ccf.gov.${name}`];
const key = (id) => ccf.strToBuf(id);

function readJson(name, at = SINGLETON) {
  const row = table(name).get(at);
  return row === undefined ? undefined : ccf.bufToJsonCompatible(row);
}

function writeJson(name, at, value) {
  table(name).set(at, ccf.jsonCompatibleToBuf(value));
}
