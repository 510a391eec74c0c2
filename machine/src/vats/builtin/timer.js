// The timer service, over the timer device. Time is what the host has told the device last: a BigInt without a unit of its own.
//
//   const service = await E(vats.timer).createTimerService(devices.timer);
//   await E(service).delay(5n);
//
// Where a time is asked for, a BigInt, a whole number, or a record of today's (`absValue`, `relValue`) will do; answers are BigInts.
// What is late is woken at the next tick of the host, with the time of that tick. The device has one wakeup of ours at a time:
// that of the earliest event.
//
// Invariants:
// - `events` is ordered by time, and by coming within one time.
// - An event is in `events` or has fired or is cancelled: never two of them.
// - The device is armed for the first of `events`, if there is one.

import { E, Far, passStyleOf } from '@endo/far';

const MAX_TIME = 2n ** 53n - 1n;

const toBigInt = (value, what) => {
  if (typeof value === 'bigint') return value;
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value);
  if (typeof value === 'object' && value !== null) {
    if (typeof value.absValue === 'bigint') return value.absValue;
    if (typeof value.relValue === 'bigint') return value.relValue;
  }
  throw TypeError(`${what} must be a BigInt`);
};

const notNegative = (value, what) => {
  const number = toBigInt(value, what);
  if (number < 0n) throw RangeError(`${what} must not be negative`);
  return number;
};

const positive = (value, what) => {
  const number = toBigInt(value, what);
  if (number <= 0n) throw RangeError(`${what} must be positive`);
  return number;
};

const insistObject = (value, what) => {
  if (passStyleOf(value) !== 'remotable') throw TypeError(`bad ${what}`);
};

// Of the times start, start + interval, ...: the last that is not after `now`, and the first that is. `count` begins with 1.
const around = (start, interval, now) => {
  if (now < start) return { latest: undefined, next: { time: start, count: 1n } };
  const count = (now - start) / interval + 1n;
  return {
    latest: { time: start + (count - 1n) * interval, count },
    next: { time: start + count * interval, count: count + 1n },
  };
};

export const buildRootObject = ({ D }) => {
  let device;
  let armed; // the time that the device will wake us at
  const events = []; // { time, token, fire(now), cancel() }
  const cancellable = new Map(); // token -> set of what has `cancel()`

  const now = () => {
    if (!device) throw Error('TimerService used before createTimerService()');
    return BigInt(D(device).getLastPolled());
  };

  const wakeupHandler = Far('wakeup handler', {
    wake() {
      armed = undefined;
      const time = now();
      let due = 0;
      while (due < events.length && events[due].time <= time) due += 1;
      for (const event of events.splice(0, due)) {
        forget(event);
        event.fire(time);
      }
      arm();
    },
  });

  const arm = () => {
    const first = events.length > 0 ? events[0].time : undefined;
    if (first === armed) return;
    if (armed !== undefined) D(device).removeWakeup(wakeupHandler);
    armed = undefined;
    if (first !== undefined) D(device).setWakeup(first, wakeupHandler);
    armed = first;
  };

  const remember = (token, thing) => {
    if (token === undefined) return;
    const things = cancellable.get(token);
    if (things) things.add(thing);
    else cancellable.set(token, new Set([thing]));
  };

  const forget = thing => {
    const things = cancellable.get(thing.token);
    if (!things) return;
    things.delete(thing);
    if (things.size === 0) cancellable.delete(thing.token);
  };

  const insert = event => {
    if (event.time > MAX_TIME) throw RangeError('that is too late for a timer');
    let low = 0;
    let high = events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (events[middle].time <= event.time) low = middle + 1;
      else high = middle;
    }
    events.splice(low, 0, event);
    arm();
  };

  const remove = event => {
    const index = events.indexOf(event);
    if (index >= 0) events.splice(index, 1);
    arm();
  };

  const insistToken = token => {
    if (token !== undefined) insistObject(token, 'cancel token');
  };

  const cancel = token => {
    const things = cancellable.get(token);
    if (!things) return;
    cancellable.delete(token);
    for (const thing of things) thing.cancel();
  };

  // A promise for the time at which it is `time`, or after.
  const promiseFor = (time, token) => {
    const at = now();
    if (time <= at) return Promise.resolve(at);
    return new Promise((resolve, reject) => {
      const event = {
        time,
        token,
        fire: resolve,
        cancel() {
          remove(event);
          reject(Error('TimerCancelled'));
        },
      };
      insert(event);
      remember(token, event);
    });
  };

  // Wakes `handler` at start, start + interval, ...: again when it has answered, no more when it has failed.
  const repeat = (start, interval, handler, token) => {
    let cancelled = false;
    const event = {
      time: start,
      token,
      fire(time) {
        remember(token, event);
        E(handler).wake(time).then(
          () => {
            if (cancelled) return;
            event.time = around(start, interval, now()).next.time;
            insert(event);
          },
          error => {
            console.log('WARNING: timer repeater descheduled (handler failed)', error);
            forget(event);
          },
        );
      },
      cancel() {
        cancelled = true;
        remove(event);
      },
    };
    const at = now();
    if (start === at) {
      event.fire(at);
    } else {
      event.time = around(start, interval, at).next.time;
      insert(event);
      remember(token, event);
    }
  };

  const wake = (handler, time) => {
    E(handler).wake(time).catch(error => console.log('one-shot event error', error));
  };

  const getCurrentTimestamp = () => now();

  const timerBrand = Far('timerBrand', {
    isMyTimerService: alleged => alleged === timerService,
    isMyClock: alleged => alleged === timerClock,
  });

  const timerClock = Far('timerClock', { getCurrentTimestamp, getTimerBrand: () => timerBrand });

  const timerService = Far('timerService', {
    getCurrentTimestamp,
    getClock: () => timerClock,
    getTimerBrand: () => timerBrand,

    /** A promise for the time `delay` from now. */
    delay(delay, token = undefined) {
      const time = now() + notNegative(delay, 'delay');
      insistToken(token);
      return promiseFor(time, token);
    },

    /** A promise for the time `when`. */
    wakeAt(when, token = undefined) {
      insistToken(token);
      return promiseFor(notNegative(when, 'time'), token);
    },

    /** `handler.wake(time)` when it is `when`; answers `when`. */
    setWakeup(when, handler, token = undefined) {
      const time = notNegative(when, 'time');
      insistObject(handler, 'setWakeup() handler');
      insistToken(token);
      const at = now();
      if (time <= at) {
        wake(handler, at);
        return time;
      }
      const event = { time, token, fire: firedAt => wake(handler, firedAt), cancel: () => remove(event) };
      remember(token, event);
      insert(event);
      return time;
    },

    /** `handler.wake(time)` after `delay`, and again each `interval`, until cancelled or failed. */
    repeatAfter(delay, interval, handler, token = undefined) {
      const start = now() + notNegative(delay, 'delay');
      const each = positive(interval, 'interval');
      insistObject(handler, 'repeatAfter() handler');
      insistToken(token);
      repeat(start, each, handler, token);
    },

    /** `{ schedule(handler), disable() }`: the same, to switch off and on. */
    makeRepeater(delay, interval, outerToken = undefined) {
      const start = now() + notNegative(delay, 'delay');
      const each = positive(interval, 'interval');
      insistToken(outerToken);
      const token = Far('repeater token', {});
      let active = false;
      const disable = () => {
        if (active) cancel(token);
        active = false;
      };
      remember(outerToken, { token: outerToken, cancel: disable });
      return Far('timerRepeater', {
        schedule(handler) {
          insistObject(handler, 'repeater.schedule() handler');
          if (active) throw Error('repeater already scheduled');
          active = true;
          repeat(start, each, handler, token);
        },
        disable,
      });
    },

    /** `{ getUpdateSince(updateCount) }`: the latest of the times, or, to who has that one, a promise for the next. */
    makeNotifier(delay, interval, token = undefined) {
      const start = now() + notNegative(delay, 'delay');
      const each = positive(interval, 'interval');
      insistToken(token);
      let last;
      const finish = () => {
        if (!last) last = harden({ value: now(), updateCount: undefined });
        return last;
      };
      remember(token, { token, cancel: finish });
      const update = latest => harden({ value: latest.time, updateCount: latest.count });
      return Far('timerNotifier', {
        getUpdateSince(updateCount = undefined) {
          if (last) return last;
          const { latest, next } = around(start, each, now());
          if (latest && latest.count !== updateCount) return update(latest);
          return promiseFor(next.time, token).then(time => update(around(start, each, time).latest), finish);
        },
      });
    },

    /** Cancels what was made with `token`. Another time, or with a token that nobody knows, it does nothing. */
    cancel,
  });

  return Far('root', {
    createTimerService(timerDevice) {
      if (device === undefined) device = timerDevice;
      else if (device !== timerDevice) throw Error('there is one timer service, and it has its device');
      return timerService;
    },
  });
};
