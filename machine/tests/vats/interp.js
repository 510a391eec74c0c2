// Runs programs: lists of commands that come with a message. What happens is printed, to be compared with a model.
export const makeInterp = (E, wrap, vat, hold) => {
  const numbers = hold ? new Map() : new WeakMap();
  let next = 0;
  const number = (x) => {
    if (!numbers.has(x)) numbers.set(x, next++);
    return numbers.get(x);
  };
  const say = (...words) => console.log([vat, ...words].join('|'));
  const show = (v) => (v === undefined ? 'u' : typeof v === 'number' ? `d${v}` : v instanceof Error ? `e${v.message}`
    : v instanceof Promise ? `p${number(v)}` : `o${number(v)}`);

  const bind = (env, name, value) => {
    env.set(name, value);
    if (!(value instanceof Promise)) say('bind', name, show(value));
  };

  const makeObject = (name) => wrap(name, {
    run(payload, ...args) {
      say('run', payload.id, name);
      const env = new Map();
      const kits = new Map();
      payload.names.forEach((bound, i) => bind(env, bound, args[i]));
      step(payload.cmds, env, kits);
      const [kind, x] = payload.ret;
      if (kind === 'throw') throw Error(x);
      return kind === 'data' ? x : kind === 'ref' ? env.get(x) : undefined;
    },
  });

  const settleKit = ({ resolve, reject }, kind, value) => (kind === 'reject' ? reject(Error(value)) : resolve(value));

  const step = (cmds, env, kits) => {
    for (const [op, a, b, c, d, e] of cmds) {
      switch (op) {
        case 'new':
          bind(env, a, makeObject(a));
          break;
        case 'kit': {
          const kit = {};
          env.set(a, new Promise((resolve, reject) => Object.assign(kit, { resolve, reject })));
          env.get(a).catch(() => {});
          kits.set(a, kit);
          env.set(b, wrap(b, { settle(id, kind, value) { say('settle', id, b); settleKit(kit, kind, value); return 0; } }));
          break;
        }
        case 'send':
        case 'only': {
          const target = env.get(b);
          const args = d.map((name) => env.get(name));
          say('send', a, show(target));
          if (op === 'only') {
            E.sendOnly(target).run(c, ...args);
          } else {
            const result = E(target).run(c, ...args);
            result.catch(() => {});
            env.set(e, result);
          }
          break;
        }
        case 'settle':
          E(env.get(b)).settle(a, c === 'reject' ? c : 'value', c === 'ref' ? env.get(d) : d).catch(() => {});
          break;
        case 'here':
          settleKit(kits.get(a), b, b === 'ref' ? env.get(c) : c);
          break;
        case 'when': {
          const later = new Map(env);
          Promise.resolve(env.get(b)).then(
            (value) => {
              say('when', a, 'f', show(value));
              bind(later, c, value);
              step(d, later, kits);
            },
            (reason) => {
              say('when', a, 'r', show(reason));
              const rejected = Promise.reject(reason);
              rejected.catch(() => {});
              later.set(c, rejected);
              step(d, later, kits);
            },
          );
          break;
        }
        case 'drop':
          env.delete(a);
          break;
        default:
          say('BUG', op);
      }
    }
  };
  return makeObject;
};
