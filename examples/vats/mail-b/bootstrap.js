// A kernel whose vats use the database of another one, served beside it: ../mail-a/bootstrap.js says how.
//
//   glassbox vat serve examples/vats/mail-b -p 5556 --name b --peer a=127.0.0.1:4000
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
      await connect(vats, 'a');
      D(devices.mailbox).registerInboundHandler(vats.vattp);
      const database = E(vats.comms).addIngress('a', 0);
      await E(vats.client).use(database);
      await E(vats.http).register(vats.client);
    },
  });
};
