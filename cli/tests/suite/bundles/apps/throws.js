// Handlers that end badly.
import { deep } from './lib/deep.js';

export function throwError() {
  deep('wrong');
}

export function throwString() {
  throw 'a string';
}

export function throwObject() {
  throw { code: 7 };
}

export function throwNothing() {
  throw undefined;
}

export function throwHostile() {
  throw { get message() { throw new Error('no'); } };
}

export function unknownName() {
  return foo;
}

export function badJson(request) {
  return { body: request.body.json() };
}

export function overflow() {
  const again = (n) => again(n + 1) + 1;
  return { body: again(0) };
}

export function hog() {
  const all = [];
  for (;;) all.push(new Uint8Array(1 << 20));
}

export function hogBuffer() {
  return { body: new ArrayBuffer(1 << 30).byteLength };
}

export function caught() {
  try {
    const again = () => again() + 1;
    again();
  } catch (error) {
    return { body: `${error.name}: ${error.message}` };
  }
}

export function loop() {
  for (;;);
}

export function loopInFinally() {
  for (;;) try { for (;;); } finally { continue; }
}

export async function never() {
  await new Promise(() => {});
}

export function fine() {
  return { body: 'fine' };
}
