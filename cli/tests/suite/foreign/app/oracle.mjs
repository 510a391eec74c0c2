// The same handlers in Node, over the emulator that the package brings: what it answers, a bundle must answer.
//
//   oracle.mjs < [{"module", "name", "params"?, "body"}, …]      prints the list of response bodies
import "@microsoft/ccf-app/polyfill.js";
import { readFileSync } from "node:fs";

const requests = JSON.parse(readFileSync(0, "utf8"));
const bodies = [];
for (const { module, name, params, body } of requests) {
  const handlers = await import(new URL(`dist/src/${module}`, import.meta.url));
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const { body: answered } = handlers[name]({ params: params ?? {}, body: { text: () => text, json: () => JSON.parse(text) } });
  bodies.push(answered);
}
console.log(JSON.stringify(bodies));
