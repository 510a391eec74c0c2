// What was: transactions as of then, ranges, receipts; and what the consensus says.
import * as ccfapp from "@microsoft/ccf-app";
import { digest } from "@microsoft/ccf-app/crypto";
import { ccf } from "@microsoft/ccf-app/global";
import { hexOf } from "./hex.js";

const messages = ccfapp.typedKv("messages", ccfapp.uint32, ccfapp.string);
const open = ccfapp.typedKv("public:messages", ccfapp.uint32, ccfapp.string);

/** Body: a text. Odd numbers are kept in a public table. The digest of the text is claimed. */
export function write(request: ccfapp.Request): ccfapp.Response {
  const id = Number(request.params.id);
  const text = request.body.text();
  (id % 2 === 0 ? messages : open).set(id, text);
  const claim = digest("SHA-256", ccf.strToBuf(text));
  ccfapp.setClaimsDigest(claim);
  return { body: { claim: hexOf(claim), before: messages.getVersionOfPreviousWrite(id) ?? null } };
}

const found = (state: ccfapp.HistoricalState, id: number) => {
  const name = id % 2 === 0 ? "messages" : "public:messages";
  return ccfapp.typedKv(state.kv[name], ccfapp.uint32, ccfapp.string).get(id) ?? null;
};

export function then(request: ccfapp.Request): ccfapp.Response {
  const state = ccfapp.historicalState;
  if (state === undefined) return { statusCode: 500, body: "there is no historical state" };
  const { transactionId, receipt } = state;
  return { body: { transactionId, receipt, text: found(state, Number(request.params.id)) } };
}

const parameters = (query: string): { [name: string]: number } =>
  Object.fromEntries(query.split("&").map((pair) => pair.split("=")).map(([name, value]) => [name, Number(value)]));

/** `?id=&from=&to=`: all texts of that number, with the receipts of their transactions. */
export function range(request: ccfapp.Request): ccfapp.Response {
  const { id, from, to } = parameters(request.query);
  const states = ccfapp.getStateRange(id, from, to, 60);
  if (states === null) return { statusCode: 202, headers: { "retry-after": "1" }, body: `${from} to ${to} is being fetched` };
  const rows = states.map(({ transactionId, receipt, kv }) => ({
    transactionId,
    receipt,
    text: found({ transactionId, receipt, kv }, id),
  }));
  return { body: { rows, dropped: [ccfapp.dropCachedStates(id), ccfapp.dropCachedStates(id)] } };
}

/** `?view=&seqno=` */
export function consensus(request: ccfapp.Request): ccfapp.Response {
  const { view, seqno } = parameters(request.query);
  return {
    body: {
      last: ccfapp.getLastCommittedTxId(),
      status: ccfapp.getStatusForTxId(view, seqno),
      view: ccfapp.getViewForSeqno(seqno),
    },
  };
}
