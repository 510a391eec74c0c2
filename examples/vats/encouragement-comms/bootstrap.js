// The user and the bot as if they were on two machines: each has a comms vat and a transport of its own, and the loopbox device
// carries messages from one transport to the other.
//
//   user ─ usercomms ─ uservattp ─ loopbox ─ botvattp ─ botcomms ─ bot
console.log('=> loading bootstrap.js')

export default function setup(syscall, state, helpers) {
  const log = (line) => {
    helpers.log(line)
    console.log(line)
  }
  log('=> setup called')
  const buildRootObject = (E, D) => {
    // Lets `name` talk to `peer`, over its transport.
    const connect = async (loopbox, name, peer, comms, transport) => {
      D(loopbox).registerInboundHandler(name, transport)
      await E(transport).registerMailboxDevice(D(loopbox).makeSender(name))
      const { transmitter, setReceiver } = await E(transport).addRemote(peer)
      await E(comms).addRemote(peer, transmitter, setReceiver)
    }
    return harden({
      async bootstrap(argv, vats, devices) {
        console.log('=> bootstrap() called')
        await connect(devices.loopbox, 'user', 'bot', vats.usercomms, vats.uservattp)
        await connect(devices.loopbox, 'bot', 'user', vats.botcomms, vats.botvattp)
        // What bot's machine calls its 0 for the user's machine is the bot.
        await E(vats.botcomms).addEgress('user', 0, vats.bot)
        const bot = E(vats.usercomms).addIngress('bot', 0)
        E(vats.user)
          .talkToBot(bot, 'bot')
          .then(
            (answer) => log(`=> the promise given by the call to user.talkToBot resolved to '${answer}'`),
            (error) => log(`=> the promise given by the call to user.talkToBot was rejected '${error}'`),
          )
      },
    })
  }
  return helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID)
}
