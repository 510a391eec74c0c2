// A kernel with a database, for another kernel. Three terminals:
//
//   glassbox vat serve examples/vats/mail-a --name a --listen-mail 127.0.0.1:4000 --peer b
//   glassbox vat serve examples/vats/mail-b -p 5556 --name b --peer a=127.0.0.1:4000
//   glassbox call localhost:5556 modify '"greeting"' '"hi"'
//
// A message to another kernel goes
//
//   a vat ─ comms ─ vattp ─ mailbox ~~~~ mailbox ─ vattp ─ comms ─ a vat
import { E, Far } from '@endo/far';

export const buildRootObject = ({ D }) => {
  // Lets the vats of this kernel talk to those of `peer`.
  const connect = async (vats, peer) => {
    const { transmitter, setReceiver } = await E(vats.vattp).addRemote(peer);
    const receiver = await E(vats.comms).addRemote(peer, transmitter);
    await E(setReceiver).setReceiver(receiver);
  };
  return Far('bootstrap', {
    async bootstrap(vats, devices) {
      if (!vats.http) throw Error('this needs callers: glassbox vat serve');
      await E(vats.vattp).registerMailboxDevice(devices.mailbox);
      await connect(vats, 'b');
      // What `b` gets by addIngress('a', 0) is the database.
      await E(vats.comms).addEgress('b', 0, vats.database);
      // From now on mail comes in.
      D(devices.mailbox).registerInboundHandler(vats.vattp);
      await E(vats.http).register(vats.database);
    },
  });
};
