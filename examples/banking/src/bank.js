// A bank: members open accounts for users, users transfer money. Accounts and transfers are private tables: in the ledger they
// are encrypted, and whoever audits it needs the ledger secret to see them.
import { text, number, json } from './values.js';

const accounts = ccf.kv['accounts'];
const transfers = ccf.kv['transfers'];

const fail = (statusCode, message) => ({ statusCode, body: { error: { message } } });

const isAmount = (amount) => Number.isSafeInteger(amount) && amount > 0;

export function open(request) {
  const user = request.params.user;
  if (!ccf.kv['public:ccf.gov.users.certs'].has(text.of(user))) return fail(400, `${user} is no user of this service`);
  const { balance } = request.body.json();
  if (balance !== 0 && !isAmount(balance)) return fail(400, 'balance must be a whole number, not below 0');
  if (accounts.has(text.of(user))) return fail(409, 'the account is open already');
  accounts.set(text.of(user), number.of(balance));
  return { statusCode: 201, body: { user, balance } };
}

export function balance(request) {
  const found = accounts.get(text.of(request.caller.id));
  return found === undefined ? fail(404, 'you have no account') : { body: { balance: number.from(found) } };
}

export function transfer(request) {
  const { to, amount } = request.body.json();
  const from = request.caller.id;
  if (!isAmount(amount)) return fail(400, 'amount must be a whole number above 0');
  if (to === from) return fail(400, 'that is your own account');
  const [mine, theirs] = [from, String(to)].map((id) => accounts.get(text.of(id)));
  if (mine === undefined) return fail(400, 'you have no account');
  if (theirs === undefined) return fail(400, `${to} has no account`);
  if (number.from(mine) < amount) return fail(400, 'your balance is too low');
  accounts.set(text.of(from), number.of(number.from(mine) - amount));
  accounts.set(text.of(to), number.of(number.from(theirs) + amount));
  // One row for each side, under a number that grows.
  for (const [id, change, other] of [[from, -amount, to], [to, amount, from]]) {
    const count = transfers.range(text.of(`${id}/`), text.of(`${id}0`), { limit: 1, reverse: true });
    const last = count.length === 0 ? 0 : Number(text.from(count[0][0]).split('/')[1]);
    transfers.set(text.of(`${id}/${String(last + 1).padStart(12, '0')}`), json.of({ change, other }));
  }
  return { statusCode: 204 };
}

export function statement(request) {
  const id = request.caller.id;
  const rows = transfers.range(text.of(`${id}/`), text.of(`${id}0`), { limit: 20, reverse: true });
  return { body: { transfers: rows.map(([, row]) => json.from(row)) } };
}
