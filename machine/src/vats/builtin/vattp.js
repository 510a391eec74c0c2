// The vat that numbers messages to other machines, and sees to it that each arrives once and in order. It stands between the
// comms vat and the device that carries messages: the mailbox, or what a loopbox makes.
//
//   out   comms ─ transmitter.transmit(message) ─▶ D(device).add(peer, number, message)
//   in    device ─ deliverInboundMessages(peer, [[number, message], ...]) ─▶ receiver.receive(message), D(device).ackInbound
//         device ─ deliverInboundAck(peer, number) ─▶ D(device).remove(peer, number) of what has arrived there
//
// Messages that arrive before their receiver is known wait for it here.
//
// If the device does not take a message, the connection with that machine has ended, and the console says why: what followed would not
// make sense without it. Nothing goes out any more but what lies in the device, and what comes in is not acknowledged.

import { E as eventually, Far as far } from '@endo/far';

const makeRoot = (E, D, Far) => {
  const peers = new Map(); // name -> { added, removed, delivered, receiver, waiting, named, ended }
  const send = E.sendOnly || E;
  let device;

  const peerCalled = name => {
    let peer = peers.get(name);
    if (!peer) {
      peer = { added: 0, removed: 0, delivered: 0, receiver: undefined, waiting: [], named: false, ended: undefined };
      peers.set(name, peer);
    }
    return peer;
  };

  const insistDevice = () => {
    if (!device) throw Error('the mailbox device is not registered');
    return device;
  };

  return Far('vattp', {
    /** Where messages go out: the mailbox device, or a loopbox's sender. */
    registerMailboxDevice(mailbox) {
      device = mailbox;
    },

    /** For the comms vat: `{ transmitter, setReceiver }`. */
    addRemote(name) {
      const peer = peerCalled(name);
      if (peer.named) throw Error(`already have remote ${name}`);
      peer.named = true;
      return harden({
        transmitter: Far('transmitter', {
          transmit(message) {
            if (peer.ended) throw Error(peer.ended);
            insistDevice();
            try {
              D(device).add(name, peer.added + 1, message);
            } catch (error) {
              peer.ended = `the connection with '${name}' has ended: ${error.message}`;
              console.error(`vattp: ${peer.ended}`);
              throw Error(peer.ended);
            }
            peer.added += 1;
          },
        }),
        setReceiver: Far('receiver setter', {
          setReceiver(receiver) {
            if (peer.receiver) throw Error('setReceiver is call-once');
            if (!receiver) throw Error('receiver must not be empty');
            peer.receiver = receiver;
            for (const message of peer.waiting) send(receiver).receive(message);
            peer.waiting = [];
          },
        }),
      });
    },

    deliverInboundMessages(name, messages) {
      const peer = peerCalled(name);
      if (peer.ended) return;
      for (const [number, message] of messages) {
        if (number > peer.delivered) {
          peer.delivered = number;
          if (peer.receiver) send(peer.receiver).receive(message);
          else peer.waiting.push(message);
          D(insistDevice()).ackInbound(name, number);
        }
      }
    },

    deliverInboundAck(name, number) {
      const peer = peerCalled(name);
      while (peer.removed < peer.added && peer.removed < number) {
        peer.removed += 1;
        D(insistDevice()).remove(name, peer.removed);
      }
    },
  });
};

export const buildRootObject = vatPowers => makeRoot(eventually, vatPowers.D, far);

/** The 2019 form: vats that say `export { default } from '@agoric/swingset-vat/src/vats/vattp'`. */
export default function setup(syscall, state, helpers) {
  const build = (E, D) => makeRoot(E, D, (name, methods) => harden(methods));
  return helpers.makeLiveSlots(syscall, state, build, helpers.vatID);
}
