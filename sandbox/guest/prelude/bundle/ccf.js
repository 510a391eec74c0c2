// The `ccf` global: converters, `rpc`, `consensus`, `historical`, and what only a constitution has.
(function (native, runtime) {
  'use strict';
  const { ask, isBuffer, toBuffer, fromBuffer, verdict } = native;
  const { stringify, parse } = JSON;
  const { assign, defineProperty } = Object;
  const { TypeError, RangeError, Error, InternalError, SyntaxError } = globalThis;
  const StringOf = String;

  const OP_CLOCK = 32, OP_CONSENSUS = 60, OP_HISTORY = 61, OP_GOVERNANCE = 50;

  const many = (count, expected) => new TypeError(`Passed ${count} arguments, but expected ${expected}`);

  const KINDS = { TypeError, RangeError, Error, InternalError, SyntaxError };
  // An answer of the host; a refusal is an array of name and message.
  function answer(op, text, buffers) {
    const given = ask(op, text, buffers === undefined ? [] : buffers);
    if (given !== null && typeof given === 'object' && !isBuffer(given)) {
      const Kind = KINDS[given[0]];
      throw new (Kind === undefined ? Error : Kind)(given[1]);
    }
    return given;
  }
  const question = (op, value) => {
    const text = answer(op, stringify(value));
    return text === undefined ? undefined : parse(text);
  };

  // What a request may set, and what it leaves for the next one in the same realm.
  let clock = false;

  const ccf = {
    strToBuf(text) {
      if (arguments.length !== 1) throw many(arguments.length, 1);
      if (typeof text !== 'string') throw new TypeError('Argument must be a string');
      return toBuffer(text);
    },
    bufToStr(buffer) {
      if (arguments.length !== 1) throw many(arguments.length, 1);
      if (!isBuffer(buffer)) throw new TypeError('Argument must be an ArrayBuffer');
      return fromBuffer(buffer);
    },
    jsonCompatibleToBuf(value) {
      if (arguments.length !== 1) throw many(arguments.length, 1);
      return toBuffer(StringOf(stringify(value)));
    },
    bufToJsonCompatible(buffer) {
      if (arguments.length !== 1) throw many(arguments.length, 1);
      if (!isBuffer(buffer)) throw new TypeError('Argument must be an ArrayBuffer');
      return parse(fromBuffer(buffer));
    },
    enableUntrustedDateTime(enable) {
      if (arguments.length !== 1) throw many(arguments.length, 1);
      if (typeof enable !== 'boolean') throw new TypeError('First argument must be a boolean');
      const before = clock;
      clock = enable;
      answer(OP_CLOCK, enable ? '1' : '0');
      return before;
    },
    enableMetricsLogging(enable) {
      if (arguments.length !== 1) throw many(arguments.length, 1);
      if (typeof enable !== 'boolean') throw new TypeError('First argument must be a boolean');
      return verdict.metrics(enable);
    },
    pemToId: runtime.pemToId,
    tcbHexToPolicy: runtime.tcbHexToPolicy,
    crypto: runtime.crypto,
    kv: runtime.kv,
  };

  const count = (value, text) => {
    const n = +value;
    if (!(n >= 0)) throw new RangeError(text);
    return n;
  };

  const rpc = {
    setApplyWrites(enable) {
      if (arguments.length !== 1) throw many(arguments.length, 1);
      if (typeof enable !== 'boolean') throw new TypeError('First argument must be a boolean');
      verdict.apply(enable);
    },
    setClaimsDigest(digest) {
      if (arguments.length !== 1) throw many(arguments.length, 1);
      if (!isBuffer(digest) || native.byteLength(digest) !== 32) {
        throw new TypeError('Argument must be an ArrayBuffer of the right size: 32');
      }
      verdict.claims(digest);
    },
  };

  const VIEW = 'Invalid view or seqno: cannot be negative';
  const consensus = {
    getLastCommittedTxId() {
      if (arguments.length !== 0) throw many(arguments.length, 0);
      return question(OP_CONSENSUS, { last: true });
    },
    getStatusForTxId(view, seqno) {
      if (arguments.length !== 2) throw many(arguments.length, 2);
      return question(OP_CONSENSUS, { view: count(view, VIEW), seqno: count(seqno, VIEW) });
    },
    getViewForSeqno(seqno) {
      if (arguments.length !== 1) throw many(arguments.length, 1);
      return question(OP_CONSENSUS, { seqno: count(seqno, 'Invalid seqno: cannot be negative') });
    },
  };

  // A transaction of the past: `index` is its number among those that this request has asked for.
  const past = ({ transactionId, receipt, index }) => ({ transactionId, receipt, kv: runtime.maps(index) });

  // `@microsoft/ccf-app` reads `ccf.historicalState` when it is evaluated, which is once for all requests. So there is one object,
  // there while modules are evaluated, and a request's transaction is written into it.
  const looking = {};
  let forApps = true;

  const RANGE = 'Invalid handle or seqno or expiry: cannot be negative';
  const historical = {
    getStateRange(handle, from, to, expiry) {
      if (arguments.length !== 4) throw many(arguments.length, 4);
      const asked = { handle: count(handle, RANGE), from: count(from, RANGE), to: count(to, RANGE) };
      count(expiry, RANGE);
      const found = question(OP_HISTORY, asked);
      if (found === null || found === undefined) return null;
      const states = [];
      for (let i = 0; i < found.length; i++) states[i] = past(found[i]);
      return states;
    },
    dropCachedStates(handle) {
      if (arguments.length !== 1) throw many(arguments.length, 1);
      count(handle, RANGE);
      return true;
    },
  };

  const govern = (name) => (...args) => question(OP_GOVERNANCE, { name, args });
  const gov = { validateConstitution: govern('validateConstitution') };
  const node = {};
  for (const name of ['triggerLedgerRekey', 'transitionServiceToOpen', 'triggerRecoverySharesRefresh', 'triggerLedgerChunk', 'triggerSnapshot']) {
    node[name] = govern(name);
  }
  const network = {};
  for (const name of ['getLatestLedgerSecretSeqno', 'generateEndorsedCertificate', 'generateNetworkCertificate']) network[name] = govern(name);

  // The names that these had before they moved to `ccf.crypto`.
  for (const name of ['generateAesKey', 'generateRsaKeyPair', 'generateEcdsaKeyPair', 'generateEddsaKeyPair', 'wrapKey', 'digest',
    'isValidX509CertBundle', 'isValidX509CertChain']) {
    if (runtime.crypto !== undefined) ccf[name] = runtime.crypto[name];
  }
  ccf.gov = gov;
  ccf.rpc = rpc;
  ccf.consensus = consensus;
  ccf.historical = historical;

  const hidden = (target, name, value) => defineProperty(target, name, { value, writable: true, configurable: true, enumerable: false });
  hidden(globalThis, 'ccf', ccf);
  if (runtime.snpAttestation !== undefined) hidden(globalThis, 'snp_attestation', runtime.snpAttestation);

  // What this realm is for: 'app', or a constitution that only looks ('gov'), or one that acts ('apply').
  runtime.become = (kind) => {
    if (kind === 'app') return;
    forApps = false;
    for (const name of ['rpc', 'consensus', 'historical']) delete ccf[name];
    if (kind !== 'apply') return;
    ccf.node = node;
    ccf.network = network;
    ccf.refreshAppBytecodeCache = govern('refreshAppBytecodeCache');
    ccf.setJwtPublicSigningKeys = govern('setJwtPublicSigningKeys');
    ccf.removeJwtPublicSigningKeys = govern('removeJwtPublicSigningKeys');
  };
  // Around the evaluation of modules.
  runtime.evaluating = (now) => {
    if (now && forApps) ccf.historicalState = looking;
    else delete ccf.historicalState;
  };
  runtime.begin = (state) => {
    if (clock) answer(OP_CLOCK, '1');
    if (state !== undefined) ccf.historicalState = assign(looking, past(state));
    else if ('historicalState' in ccf) delete ccf.historicalState;
  };
})
