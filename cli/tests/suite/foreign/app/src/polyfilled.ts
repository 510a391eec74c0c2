// What the engine lacks, from core-js: it looks at every built-in object when it is loaded, and replaces what it finds wanting.
import "core-js/es";
import "core-js/actual/structured-clone";
import "core-js/actual/atob";
import "core-js/actual/btoa";
import "core-js/actual/url";
import "core-js/actual/url-search-params";
import "core-js/actual/set";
import "core-js/actual/array/group-by";
import type { Request, Response } from "@microsoft/ccf-app/endpoints";

type Anything = any;
const everything = globalThis as Anything;

export function use(request: Request): Response {
  const { URL, URLSearchParams, structuredClone, btoa, atob } = everything;
  const url = new URL(request.body.text());
  const cyclic: Anything = { date: new Date(5), map: new Map([[1, new Set([2])]]) };
  cyclic.self = cyclic;
  const clone = structuredClone(cyclic);
  return {
    body: {
      host: url.host,
      parameters: [...new URLSearchParams(url.search)],
      hash: url.hash,
      cloned: clone !== cyclic && clone.self === clone && clone.date.getTime() === 5 && clone.map.get(1).has(2),
      union: [...(new Set([1, 2]) as Anything).union(new Set([2, 3]))],
      sorted: ([3, 1, 2] as Anything).toSorted(),
      at: ("abc" as Anything).at(-1),
      base64: [btoa("ÿ"), atob("/w==") === "ÿ"],
      matched: [...("a1b2" as Anything).matchAll(/[a-z](\d)/g)].map((match: string[]) => match[1]),
    },
  };
}
