// The packages that a vat may import: their names, and what each exports.
//
// `runtime.packages` is a record by name of records by export; `default` where a package has one.
(function (native, runtime) {
  'use strict';
  const { Promise, RangeError, TypeError, BigInt } = globalThis;
  const { defineProperty, fromEntries, entries, keys, create } = Object;
  const { ownKeys } = Reflect;
  const { isSafeInteger } = Number;
  const { harden, HandledPromise, E, assert, pass, makeMarshal, patterns } = runtime;
  const { Fail, quote, bare, details, note, makeError } = assert;

  // --- @endo/nat ---

  const isNat = (value) => (typeof value === 'bigint' ? value >= 0n : isSafeInteger(value) && value >= 0);
  function Nat(value) {
    if (typeof value === 'bigint') {
      if (value < 0n) throw new RangeError(`${value} is negative`);
      return value;
    }
    if (typeof value !== 'number') throw new TypeError(`${String(value)} is a ${typeof value} but must be a bigint or a number`);
    if (!isSafeInteger(value)) throw new RangeError(`${value} is not a safe integer`);
    if (value < 0) throw new RangeError(`${value} is negative`);
    return BigInt(value);
  }
  // Of 2019: numbers only.
  function Nat2019(value) {
    if (!isSafeInteger(value)) throw new RangeError('not a safe integer');
    if (value < 0) throw new RangeError('negative');
    return value;
  }

  // --- @endo/promise-kit ---

  function makePromiseKit() {
    let resolve, reject;
    const promise = new HandledPromise((itsResolve, itsReject) => {
      resolve = itsResolve;
      reject = itsReject;
    });
    return harden({ promise, resolve, reject });
  }
  const racePromises = (values) => harden(Promise.race(values));
  const producePromise = () => {
    const { promise, resolve, reject } = makePromiseKit();
    return harden({ p: promise, promise, res: resolve, resolve, rej: reject, reject, isPromise: pass.isPromise });
  };

  // --- @agoric/internal ---

  const objectMap = (record, map) => harden(fromEntries(ownKeys(record).map((key) => [key, map(record[key], key)])));
  const deepMapObject = (value, map) => (pass.isPrimitive(value) ? map(value)
    : fromEntries(entries(value).map(([key, inner]) => [key, deepMapObject(inner, map)])));
  const allValues = async (record) => {
    const names = keys(record);
    const values = await Promise.all(names.map((name) => record[name]));
    return harden(fromEntries(names.map((name, i) => [name, values[i]])));
  };
  const assertAllDefined = (record) => {
    const missing = keys(record).filter((name) => record[name] === undefined);
    if (missing.length > 0) Fail`missing ${quote(missing)}`;
  };
  const bindAllMethods = (object) => objectMap(
    fromEntries(runtime.getMethodNames(object).map((name) => [name, object[name]])),
    (method) => (...args) => Reflect.apply(method, object, args),
  );
  const PromiseAllOrErrors = async (items) => {
    const settled = await Promise.allSettled(items);
    const errors = settled.filter(({ status }) => status === 'rejected').map(({ reason }) => reason);
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1) throw new AggregateError(errors, `${errors.length} errors`);
    return settled.map(({ value }) => value);
  };
  const aggregateTryFinally = async (attempt, last) => {
    let result;
    try {
      result = await attempt();
    } catch (error) {
      await PromiseAllOrErrors([Promise.reject(error), Promise.resolve().then(() => last(error))]);
    }
    await last();
    return result;
  };

  // --- The table ---

  const eventualSend = { E, HandledPromise };
  const promiseKit = { makePromiseKit, racePromises, isPromise: pass.isPromise };
  const nat = { Nat, isNat, ZERO_N: 0n, ONE_N: 1n };
  const passStyle = { ...pass };
  const marshal = { ...passStyle, makeMarshal, QCLASS: '@qclass' };
  const far = { E, Far: pass.Far, getInterfaceOf: pass.getInterfaceOf, passStyleOf: pass.passStyleOf };
  const { makeAssert: _, bare: _b, error: _e, ...assertions } = assert;
  const errors = { assert, ...assertions, bare, makeError, details, note, quote, Fail, b: bare, X: details, q: quote, annotateError: note,
    redacted: details, throwRedacted: Fail, hideAndHardenFunction: harden };
  delete errors.typeof;
  const exo = runtime.makeExos(patterns);
  const all = { ...patterns, objectMap };
  const none = {};
  const table = {
    '@endo/far': far,
    '@endo/eventual-send': eventualSend,
    '@endo/marshal': marshal,
    '@endo/pass-style': passStyle,
    '@endo/promise-kit': promiseKit,
    '@endo/nat': nat,
    '@endo/errors': errors,
    '@endo/harden': { default: harden, harden },
    '@endo/init': none,
    '@endo/lockdown': none,
    ses: none,
    '@endo/patterns': all,
    '@endo/exo': exo,
    '@agoric/store': { ...all, ...exo, ...runtime.heapStores },
    '@agoric/assert': { assert, details, q: quote, quote, X: details, Fail, an: runtime.an, default: assert },
    '@agoric/harden': { default: harden },
    '@agoric/nat': { default: Nat2019, Nat: Nat2019 },
    '@agoric/eventual-send': { ...eventualSend, default: E },
    '@agoric/marshal': { ...marshal, mustPassByPresence: runtime.mustPassByPresence },
    '@agoric/far': far,
    '@agoric/promise-kit': promiseKit,
    '@agoric/produce-promise': { makePromise: producePromise, producePromise, isPromise: pass.isPromise, default: producePromise },
    '@agoric/internal': { objectMap, deepMapObject, allValues, assertAllDefined, bindAllMethods, PromiseAllOrErrors, aggregateTryFinally,
      deeplyFulfilledObject: pass.deeplyFulfilled },
    '@agoric/vat-data': runtime.dataPackage,
  };
  runtime.promiseKit = promiseKit;
  runtime.packages = create(null);
  for (const name of keys(table)) {
    const record = create(null);
    for (const key of ownKeys(table[name])) defineProperty(record, key, Object.getOwnPropertyDescriptor(table[name], key));
    runtime.packages[name] = harden(record);
  }
  harden(runtime.packages);
})
