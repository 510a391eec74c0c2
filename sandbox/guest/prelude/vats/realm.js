// The entry point of a vat's realm: deliveries, of which the first one starts the vat.
(function (native, runtime) {
  'use strict';
  const { D, E, harden, liveslots, passStyleOf, getInterfaceOf, setup2019, slots: table } = runtime;
  const { Error, TypeError, console } = globalThis;
  const { error } = console;
  const { parse, stringify } = JSON;
  const { apply } = Reflect;
  const StringOf = String;
  const sourceOf = Function.prototype.toString;

  let called = ''; // the vat, for the console
  let raw; // what a vat that speaks the protocol of 2019 itself is told through

  // ---- start ----

  const COMMENTS = /\/\*[^]*?\*\/|\/\/[^\n]*/g;
  const TAKES_E = /^(?:async\b\s*)?(?:function\b\s*\*?\s*[\w$]*|[\w$]+)?\s*\(\s*E\s*[,)=]|^(?:async\s+)?E\s*=>/;

  // The form of 2019 calls its first parameter so.
  const takesE = (build) => TAKES_E.test(apply(sourceOf, build, []).replace(COMMENTS, ' ').trim());

  const named = (value) => (value !== null && typeof value === 'object' ? 'an object' : stringify(value) ?? StringOf(value));

  async function startVat(optionsText, body, slots) {
    const { name, vatID, module, upgrade } = parse(optionsText);
    called = ` in vat ${name} (${vatID})`;
    runtime.virtual?.start(vatID, upgrade === true);
    const { module: namespace } = await native.importModule(module);
    const { default: setup, buildRootObject: build } = namespace;
    if (typeof setup === 'function') {
      liveslots.become('2019', vatID);
      definePowers();
      raw = setup2019.setUp(setup, name, vatID);
      return stringify({ dialect: '2019', dispatch: raw === undefined ? 'liveslots' : 'raw' });
    }
    if (build === undefined && setup !== undefined) throw new Error('setup is not an in-realm function');
    if (typeof build !== 'function') {
      throw new Error(`vat module ${module} has neither a default export 'setup' nor an export 'buildRootObject' that is a function`);
    }
    if (takesE(build)) {
      liveslots.become('2019', vatID);
      definePowers();
      setup2019.exportRoot(await build(E, D, runtime.vatPowers));
      return stringify({ dialect: '2019', dispatch: 'liveslots' });
    }
    liveslots.become('today', vatID);
    definePowers();
    const parameters = liveslots.read(body, slots);
    const root = await build(runtime.vatPowers, parameters, runtime.virtual?.baggage());
    if (passStyleOf(root) !== 'remotable') {
      throw new Error(`buildRootObject() for vat ${stringify(vatID)} returned ${named(root)}, which is not Far`);
    }
    if (getInterfaceOf(root) === undefined) {
      throw new Error(`buildRootObject() for vat ${stringify(vatID)} returned ${named(root)} with no interface`);
    }
    if (table.vrefs.has(root)) throw new Error('buildRootObject() must return ephemeral, not virtual/durable object');
    table.hold(root, 'o+0');
    runtime.virtual?.started();
    return stringify({ dialect: 'today', dispatch: 'liveslots' });
  }

  function definePowers() {
    const { virtual } = runtime;
    runtime.vatPowers = harden({
      D,
      exitVat: (completion) => liveslots.exit(false, completion),
      exitVatWithFailure: (reason) => liveslots.exit(true, reason),
      VatData: virtual?.VatData,
      WeakMap: virtual?.WeakMap ?? WeakMap,
      WeakSet: virtual?.WeakSet ?? WeakSet,
      testLog: setup2019.log,
    });
  }

  // ---- deliveries ----

  function deliver(kind, fields) {
    switch (kind) {
      case 'message':
        return raw === undefined ? liveslots.message(fields[0], fields[1], fields[2], fields[3], fields[4], fields[5])
          : raw.message(fields[0], fields[1], fields[2], fields[3], fields[4], fields[5]);
      case 'notify': return (raw === undefined ? liveslots : raw).notify(fields);
      case 'startVat': return startVat(fields[0], fields[1], fields[2]);
      case 'dropExports': return (raw === undefined ? table : raw).dropExports(fields);
      case 'retireExports': return (raw === undefined ? table : raw).retireExports(fields);
      case 'retireImports': return (raw === undefined ? table : raw).retireImports(fields);
      case 'bringOutYourDead': return raw === undefined ? table.bringOutYourDead() : undefined;
      case 'stopVat': return raw === undefined ? runtime.virtual?.stop() : undefined;
      default: throw new TypeError(`unknown delivery type ${kind}`);
    }
  }

  // What a promise was rejected with that nobody handles.
  function complain(reason) { error('Unhandled rejection%s:', called, reason); }

  runtime.entry = { deliver, complain };
})
