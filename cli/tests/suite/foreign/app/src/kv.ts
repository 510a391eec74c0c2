// Every converter of the package, through typed tables; the bytes are read through the untyped ones.
import * as ccfapp from "@microsoft/ccf-app";
import { hexOf } from "./hex.js";

const { typedKv, typedKvSet, rawKv } = ccfapp;

interface Point {
  x: number;
  y: number[];
}

// How a value is written in JSON, where it does not have a form of its own.
type Plain = boolean | number | string | number[] | Point;

interface Case<T> {
  converter: ccfapp.DataConverter<T>;
  from: (plain: any) => T;
  to: (value: T) => Plain;
}

const same = <T extends Plain>(converter: ccfapp.DataConverter<T>): Case<T> => ({
  converter,
  from: (plain) => plain,
  to: (value) => value,
});
const big = (converter: ccfapp.DataConverter<bigint>): Case<bigint> => ({ converter, from: BigInt, to: String });
const list = (values: ArrayLike<number>): number[] => Array.from(values);

const CASES: { [name: string]: Case<any> } = {
  bool: same(ccfapp.bool),
  int8: same(ccfapp.int8),
  uint8: same(ccfapp.uint8),
  int16: same(ccfapp.int16),
  uint16: same(ccfapp.uint16),
  int32: same(ccfapp.int32),
  uint32: same(ccfapp.uint32),
  int64: big(ccfapp.int64),
  uint64: big(ccfapp.uint64),
  float32: same(ccfapp.float32),
  float64: same(ccfapp.float64),
  string: same(ccfapp.string),
  json: same(ccfapp.json<Point>()),
  checkedJson: same(ccfapp.checkedJson<Point>()),
  uint8Array: { converter: ccfapp.typedArray(Uint8Array), from: (plain) => new Uint8Array(plain), to: list },
  int32Array: { converter: ccfapp.typedArray(Int32Array), from: (plain) => new Int32Array(plain), to: list },
  float64Array: { converter: ccfapp.typedArray(Float64Array), from: (plain) => new Float64Array(plain), to: list },
  arrayBuffer: {
    converter: ccfapp.arrayBuffer,
    from: (plain) => new Uint8Array(plain).buffer,
    to: (value: ArrayBuffer) => list(new Uint8Array(value)),
  },
};

const tableOf = (name: string) => typedKv(`converters.${name}`, ccfapp.string, CASES[name].converter);

function shown(name: string) {
  const bytes = rawKv[`converters.${name}`].get(ccfapp.string.encode("value"));
  const table = tableOf(name);
  return { value: CASES[name].to(table.get("value")), bytes: hexOf(bytes!), size: table.size };
}

/** Body: a value for each converter. */
export function convert(request: ccfapp.Request): ccfapp.Response {
  const values = request.body.json();
  const result: { [name: string]: unknown } = {};
  for (const name of Object.keys(values)) {
    try {
      tableOf(name).set("value", CASES[name].from(values[name]));
      result[name] = shown(name);
    } catch (error) {
      result[name] = { error: String(error) };
    }
  }
  return { body: result };
}

export const read: ccfapp.EndpointFn = (request) => ({ body: shown(request.params.name) });

/** What the typed tables do beside get and set. */
export function typed(): ccfapp.Response {
  const table = typedKv("typed", ccfapp.uint32, ccfapp.json<Point>());
  table.clear();
  const chained = table.set(3, { x: 3, y: [] }).set(1, { x: 1, y: [1] }).set(2, { x: 2, y: [1, 2] });
  const seen: unknown[] = [];
  table.forEach((value, key, same) => seen.push([key, value, same === table]));
  seen.sort();
  const before = table.getVersionOfPreviousWrite(1) ?? null;
  table.delete(2);
  const names = typedKvSet("names", ccfapp.string);
  names.add("b").add("a");
  const members: string[] = [];
  names.forEach((name) => members.push(name));
  members.sort();
  names.delete("b");
  return {
    body: {
      chained: chained instanceof ccfapp.TypedKvMap,
      seen,
      has: [table.has(1), table.has(2), names.has("a"), names.has("b")],
      missing: table.get(2) === undefined,
      sizes: [table.size, names.size],
      before,
      members,
    },
  };
}
