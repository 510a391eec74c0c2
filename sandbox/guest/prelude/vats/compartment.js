// `Compartment`: globals of its own for a piece of code, over the primordials that all share.
//
// - Code is evaluated as strict code within scopes that hide the realm's globals: a name means a global of the compartment,
//   or nothing. What could evaluate outside of these scopes (direct eval, `import()`) is refused by the look of the text,
//   which may refuse comments and strings, too.
// - There are no modules. `~.` is rewritten before the code is evaluated.
(function (native, runtime) {
  'use strict';
  const { host } = native;
  const { SyntaxError, TypeError, ReferenceError, Proxy, Symbol, WeakMap } = globalThis;
  const { assign, defineProperty, defineProperties, freeze } = Object;
  const { apply } = Reflect;
  const { isArray } = Array;
  const { harden, feral, shared, makeFunctionConstructor } = runtime;
  const { equal } = runtime.assert;
  const StringOf = String;
  const OP_REWRITE = 81;

  // --- Texts ---

  // Global, so that `search` looks at no state; it always begins at 0.
  const HTML_COMMENT = new RegExp('(?:' + '<' + '!--|--' + '>)', 'g');
  const IMPORT = new RegExp('(^|[^.]|\\.\\.\\.)\\bimport(\\s*(?:\\(|/[/*]))', 'g');
  const DIRECT_EVAL = new RegExp('(^|[^.])\\beval(\\s*\\()');
  const SOURCE_URL = new RegExp('//[#@]\\s*sourceURL\\s*=\\s*([^\\s*]*)\\s*$');
  const searchIn = Function.prototype.call.bind(RegExp.prototype[Symbol.search]);

  function refuse(source, pattern, what, code) {
    const index = searchIn(pattern, source);
    if (index < 0) return;
    let line = source[index] === '\n' ? 2 : 1;
    for (let i = 0; i < index; i++) if (source[i] === '\n') line += 1;
    const url = SOURCE_URL.exec(source);
    throw new SyntaxError(`Possible ${what} rejected at ${url === null ? '<unknown>' : url[1]}:${line}. (${code})`);
  }

  const evadeHtml = (source) => source.replace(HTML_COMMENT, (found) => (found[0] === '<' ? '< ! --' : '-- >'));
  const evadeImport = (source) => source.replace(IMPORT, (_, before, after) => `${before}__import__${after}`);

  function ready(source) {
    refuse(source, HTML_COMMENT, 'HTML comment', 'SES_HTML_COMMENT_REJECTED');
    refuse(source, IMPORT, 'import expression', 'SES_IMPORT_REJECTED');
    return source.includes('~.') ? rewrite(source) : source;
  }

  function rewrite(source) {
    const rewritten = host(OP_REWRITE, source);
    if (isArray(rewritten)) throw new SyntaxError(rewritten[1]);
    return rewritten;
  }

  // A part of a text that can only be read with what is around it. If it closes what that opened, it is no part.
  function plain(before, part, after) {
    if (!part.includes('~.')) return part;
    const text = rewrite(before + part + after);
    if (!text.startsWith(before) || !text.endsWith(after)) throw new SyntaxError('not a part of a function');
    return text.slice(before.length, text.length - after.length);
  }

  // --- Scopes ---

  // The outermost: has every name, so that none is looked for in the realm.
  const nowhere = new Proxy(freeze({ __proto__: null }), freeze({
    __proto__: null,
    get: () => undefined,
    set(_, name) { throw new ReferenceError(`${StringOf(name)} is not defined`); },
    has: () => true,
    getPrototypeOf: () => null,
    ownKeys: () => [],
  }));

  const inScopes = 'with (this.nowhere) with (this.globals) with (this.once) '
    + "return function () { 'use strict'; return eval(arguments[0]); };";
  const inRealm = "with (this.once) return function () { 'use strict'; return eval(arguments[0]); };";

  // The one `eval` of an evaluation is the realm's; code that says `eval` gets the compartment's.
  function makeEvaluator(globals, code) {
    const once = { __proto__: null };
    const evaluate = apply(new feral.Function(code), { nowhere, globals, once }, []);
    return (source) => {
      defineProperty(once, 'eval', {
        get() {
          delete once.eval;
          return feral.eval;
        },
        enumerable: false,
        configurable: true,
      });
      try {
        return apply(evaluate, globals, [source]);
      } finally {
        delete once.eval;
      }
    };
  }

  // --- Compartment ---

  const fields = new WeakMap(); // compartment -> {name, globals, evaluate, transforms}
  const of = (compartment) => {
    const its = fields.get(compartment);
    if (its === undefined) throw new TypeError('not a Compartment');
    return its;
  };

  function evaluateIn({ evaluate, transforms }, source, options) {
    let text = source;
    const local = options.transforms === undefined ? [] : [...options.transforms];
    for (const transform of local) text = transform(text);
    if (options.__evadeHtmlCommentTest__ === true) text = evadeHtml(text);
    if (options.__evadeImportExpressionTest__ === true) text = evadeImport(text);
    if (options.__rejectSomeDirectEvalExpressions__ !== false) {
      refuse(text, DIRECT_EVAL, 'direct eval expression', 'SES_EVAL_REJECTED');
    }
    for (const transform of transforms) text = transform(text);
    return evaluate(ready(text));
  }

  function optionsOf(args) {
    if (args.length === 1 && typeof args[0] === 'object' && args[0] !== null && '__options__' in args[0]) {
      const { __options__, ...options } = args[0];
      runtime.assert(__options__ === true, `Compartment constructor only supports true __options__ sigil, got ${__options__}`);
      return options;
    }
    const [globals = {}, modules = {}, options = {}] = args;
    equal(options.modules, undefined, 'Compartment constructor must receive either a module map argument or modules option, not both');
    equal(options.globals, undefined, 'Compartment constructor must receive either globals argument or option, not both');
    return { ...options, globals, modules };
  }

  const SHARED = shared.filter((name) => !['globalThis', 'eval', 'Function', 'console', 'NaN', 'Infinity', 'undefined'].includes(name));
  const constant = (value) => ({ value, writable: false, enumerable: false, configurable: false });
  const variable = (value) => ({ value, writable: true, enumerable: false, configurable: true });

  function Compartment(...args) {
    if (new.target === undefined) throw new TypeError("Class constructor Compartment cannot be invoked without 'new'");
    const { name = '<unknown>', transforms = [], __shimTransforms__: shims = [], globals: endowments = {} } = optionsOf(args);
    const globals = {};
    defineProperties(globals, {
      [Symbol.unscopables]: constant(undefined),
      NaN: constant(NaN),
      Infinity: constant(Infinity),
      undefined: constant(undefined),
    });
    const run = makeEvaluator(globals, inScopes);
    const its = { name: `${name}`, globals, evaluate: run, transforms: [...transforms, ...shims] };
    const inner = (source) => evaluateIn(its, source, { __rejectSomeDirectEvalExpressions__: false });
    for (const shareable of SHARED) defineProperty(globals, shareable, variable(globalThis[shareable]));
    for (const [key, value] of [['globalThis', globals], ['harden', harden], ['HandledPromise', runtime.HandledPromise],
      ['Compartment', Compartment], ['Function', harden(makeFunctionConstructor(inner, plain))],
      ['eval', harden({ eval(source) { return typeof source === 'string' ? inner(source) : source; } }.eval)]]) {
      defineProperty(globals, key, variable(value));
    }
    assign(globals, endowments);
    fields.set(this, its);
  }

  const noModules = (name) => new TypeError(`Compartment ${name} has no modules`);
  const Inert = function Compartment() {
    throw new TypeError('Compartment.prototype.constructor is not a valid constructor.');
  };
  const prototype = {
    constructor: Inert,
    get globalThis() { return of(this).globals; },
    get name() { return of(this).name; },
    evaluate(source, options = {}) {
      const its = of(this);
      if (typeof source !== 'string') throw new TypeError('first argument of evaluate() must be a string');
      return evaluateIn(its, source, options);
    },
    async import() { throw noModules(of(this).name); },
    async load() { throw noModules(of(this).name); },
    importNow() { throw noModules(of(this).name); },
    module() { throw noModules(of(this).name); },
  };
  defineProperty(prototype, Symbol.toStringTag, { value: 'Compartment', writable: false, enumerable: false, configurable: true });
  defineProperty(Inert, 'prototype', { value: prototype });
  Compartment.prototype = prototype;

  runtime.Compartment = harden(Compartment);
  defineProperty(globalThis, 'Compartment', variable(Compartment));

  // The vat's own code: its globals are the realm's, and its evaluators are strict, too.
  const ofVat = makeEvaluator(globalThis, inRealm);
  runtime.lockEvaluators((source) => ofVat(ready(source)), plain);
})
