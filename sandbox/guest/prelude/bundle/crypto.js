// `ccf.crypto`, `ccf.pemToId`, `ccf.tcbHexToPolicy` and `snp_attestation`. The host computes; this side checks how many
// arguments there are and of what kind, and turns refusals into errors. No function looks at `this`: apps take them unbound.
(function (native, runtime) {
  'use strict';
  const { ask, isBuffer } = native;
  const { parse, stringify } = JSON;
  const { isArray } = Array;
  const { create } = Object;
  const { trunc } = Math;
  const Text = String;
  const Numeral = Number;
  const { isFinite } = Number;
  const MAX = Number.MAX_SAFE_INTEGER;
  const Buffer = ArrayBuffer;
  const Bytes = Uint8Array;
  const TypeErrorConstructor = TypeError;
  const RangeErrorConstructor = RangeError;
  const InternalErrorConstructor = globalThis.InternalError || Error;
  const byteLength = Function.prototype.call.bind(Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength').get);
  const toWellFormed = Function.prototype.call.bind(String.prototype.toWellFormed);
  const charCodeAt = Function.prototype.call.bind(String.prototype.charCodeAt);

  const OP_CRYPTO = 30;

  function failure(name, message) {
    if (name === 'TypeError') return new TypeErrorConstructor(message);
    if (name === 'RangeError') return new RangeErrorConstructor(message);
    return new InternalErrorConstructor(message);
  }

  // Asks the host: `fields` has the plain arguments, `buffers` the others.
  function call(fn, fields, buffers) {
    fields.fn = fn;
    const lens = [];
    for (let i = 0; i < buffers.length; i++) lens[i] = byteLength(buffers[i]);
    fields.lens = lens;
    const answer = ask(OP_CRYPTO, stringify(fields), buffers);
    if (isArray(answer)) throw failure(answer[0], answer[1]);
    return answer;
  }

  // Objects without a prototype: what an app adds to Object.prototype does not slip into a question.
  function fields() { return create(null); }

  function count(given, expected) {
    if (given !== expected) throw new TypeErrorConstructor('Passed ' + given + ' arguments, but expected ' + expected);
  }

  function oneOrTwo(given) {
    if (given !== 1 && given !== 2) {
      throw new TypeErrorConstructor('Passed ' + given + ' arguments, but expected 1 or 2');
    }
  }

  // As the engine of the reference converts an argument to a string; half of a pair becomes U+FFFD.
  function text(value) {
    if (typeof value === 'symbol') throw new TypeErrorConstructor('cannot convert symbol to string');
    return toWellFormed(Text(value));
  }

  function buffer(value) {
    if (!isBuffer(value)) throw new TypeErrorConstructor('ArrayBuffer object expected');
    return value;
  }

  function whole(value) {
    const number = trunc(Numeral(value));
    if (!isFinite(number)) return 0;
    return number > MAX ? MAX : number < -MAX ? -MAX : number + 0;
  }

  // The algorithm of a signature: its name and hash are read in this order, as in the reference.
  function signature(algorithm) {
    const asked = fields();
    const name = algorithm.name;
    const hash = algorithm.hash;
    asked.name = text(name);
    if (asked.name !== 'EdDSA') {
      asked.hash = text(hash);
      if (asked.name === 'RSA-PSS') asked.saltLength = whole(algorithm.saltLength);
    }
    return asked;
  }

  // The name and parameters of a way to wrap keys; a label goes to the end of `buffers`.
  function wrapping(parameters, buffers) {
    const asked = fields();
    asked.name = text(parameters.name);
    if (asked.name === 'RSA-OAEP-AES-KWP') asked.aesKeySize = parameters.aesKeySize | 0;
    if (asked.name === 'RSA-OAEP' || asked.name === 'RSA-OAEP-AES-KWP') {
      const label = parameters.label;
      if (label !== undefined && label !== null) buffers[2] = buffer(label);
    }
    return asked;
  }

  const crypto = {
    sign(algorithm, key, data) {
      count(arguments.length, 3);
      const asked = signature(algorithm);
      asked.key = text(key);
      return call('sign', asked, [buffer(data)]);
    },

    verifySignature(algorithm, key, signed, data) {
      count(arguments.length, 4);
      const buffers = [buffer(signed), buffer(data)];
      const asked = signature(algorithm);
      asked.key = text(key);
      return call('verifySignature', asked, buffers) === 'true';
    },

    generateAesKey(size) {
      count(arguments.length, 1);
      const asked = fields();
      asked.size = size | 0;
      return call('generateAesKey', asked, []);
    },

    generateRsaKeyPair(size, exponent) {
      oneOrTwo(arguments.length);
      const asked = fields();
      asked.size = size >>> 0;
      if (exponent !== undefined) asked.exponent = exponent >>> 0;
      return parse(call('generateRsaKeyPair', asked, []));
    },

    generateEcdsaKeyPair(curve) {
      count(arguments.length, 1);
      const asked = fields();
      asked.curve = text(curve);
      return parse(call('generateEcdsaKeyPair', asked, []));
    },

    generateEddsaKeyPair(curve) {
      count(arguments.length, 1);
      const asked = fields();
      asked.curve = text(curve);
      return parse(call('generateEddsaKeyPair', asked, []));
    },

    wrapKey(key, wrappingKey, parameters) {
      count(arguments.length, 3);
      const buffers = [buffer(key), buffer(wrappingKey)];
      return call('wrapKey', wrapping(parameters, buffers), buffers);
    },

    unwrapKey(key, unwrappingKey, parameters) {
      count(arguments.length, 3);
      const buffers = [buffer(key), buffer(unwrappingKey)];
      return call('unwrapKey', wrapping(parameters, buffers), buffers);
    },

    digest(algorithm, data) {
      count(arguments.length, 2);
      const asked = fields();
      asked.algorithm = text(algorithm);
      // The name is judged before the data.
      if (asked.algorithm !== 'SHA-256') return call('digest', asked, []);
      return call('digest', asked, [buffer(data)]);
    },

    isValidX509CertBundle(pem) {
      count(arguments.length, 1);
      const asked = fields();
      asked.pem = text(pem);
      return call('isValidX509CertBundle', asked, []) === 'true';
    },

    // `now` is 0: validity in time is not looked at, since a request's time is not proved.
    isValidX509CertChain(chain, trusted) {
      count(arguments.length, 2);
      const asked = fields();
      asked.chain = text(chain);
      asked.trusted = text(trusted);
      asked.now = 0;
      return call('isValidX509CertChain', asked, []) === 'true';
    },
  };

  // A function of this name with one declared parameter, which asks the question of the same name.
  function toJwk(name) {
    return {
      [name](pem) {
        oneOrTwo(arguments.length);
        const asked = fields();
        asked.pem = text(pem);
        // A missing id is left out, also if it is passed as undefined.
        if (arguments[1] !== undefined) asked.kid = text(arguments[1]);
        return parse(call(name, asked, []));
      },
    }[name];
  }

  function toPem(name) {
    return {
      [name](jwk) {
        count(arguments.length, 1);
        const asked = fields();
        asked.jwk = text(stringify(jwk));
        return call(name, asked, []);
      },
    }[name];
  }

  const TO_JWK = ['pubPemToJwk', 'pemToJwk', 'pubRsaPemToJwk', 'rsaPemToJwk', 'pubEddsaPemToJwk', 'eddsaPemToJwk'];
  const TO_PEM = ['pubJwkToPem', 'jwkToPem', 'pubRsaJwkToPem', 'rsaJwkToPem', 'pubEddsaJwkToPem', 'eddsaJwkToPem'];
  for (let i = 0; i < 6; i++) {
    crypto[TO_JWK[i]] = toJwk(TO_JWK[i]);
    crypto[TO_PEM[i]] = toPem(TO_PEM[i]);
  }

  function digit(code) {
    return code < 58 ? code - 48 : code - 87;
  }

  function bytesOf(hex) {
    const length = hex.length / 2;
    const out = new Buffer(length);
    const bytes = new Bytes(out);
    for (let i = 0; i < length; i++) bytes[i] = digit(charCodeAt(hex, 2 * i)) * 16 + digit(charCodeAt(hex, 2 * i + 1));
    return out;
  }

  const REPORT_BYTES = ['family_id', 'image_id', 'report_data', 'measurement', 'host_data', 'id_key_digest',
    'author_key_digest', 'report_id', 'report_id_ma', 'chip_id'];

  const snpAttestation = {
    verifySnpAttestation(evidence, endorsements, uvmEndorsements, endorsedTcb) {
      if (arguments.length < 2 || arguments.length > 4) {
        throw new TypeErrorConstructor('Passed ' + arguments.length + ' arguments, but expected between 2 and 4');
      }
      const buffers = [buffer(evidence), buffer(endorsements)];
      const asked = fields();
      asked.uvm = uvmEndorsements !== undefined;
      if (asked.uvm) buffers[2] = buffer(uvmEndorsements);
      if (endorsedTcb !== undefined) asked.tcb = text(endorsedTcb);
      asked.now = 0;
      const result = parse(call('verifySnpAttestation', asked, buffers));
      const report = result.attestation;
      for (let i = 0; i < REPORT_BYTES.length; i++) report[REPORT_BYTES[i]] = bytesOf(report[REPORT_BYTES[i]]);
      report.signature.r = bytesOf(report.signature.r);
      report.signature.s = bytesOf(report.signature.s);
      return result;
    },
  };

  runtime.crypto = crypto;
  runtime.snpAttestation = snpAttestation;

  runtime.pemToId = {
    pemToId(pem) {
      count(arguments.length, 1);
      const asked = fields();
      asked.pem = text(pem);
      return call('pemToId', asked, []);
    },
  }.pemToId;

  runtime.tcbHexToPolicy = {
    tcbHexToPolicy(cpuid, tcb) {
      count(arguments.length, 2);
      const asked = fields();
      asked.cpuid = text(cpuid);
      asked.tcb = text(tcb);
      return parse(call('tcbHexToPolicy', asked, []));
    },
  }.tcbHexToPolicy;
  return undefined;
})
