// Introduces the bot to the user, and is told how that went.
console.log('=> loading bootstrap.js')

export default function setup(syscall, state, helpers) {
  const log = (line) => {
    helpers.log(line)
    console.log(line)
  }
  log('=> setup called')
  const buildRootObject = (E) =>
    harden({
      bootstrap(argv, vats) {
        console.log('=> bootstrap() called')
        E(vats.user)
          .talkToBot(vats.bot, 'encouragementBot')
          .then(
            (answer) => log(`=> the promise given by the call to user.talkToBot resolved to '${answer}'`),
            (error) => log(`=> the promise given by the call to user.talkToBot was rejected '${error}'`),
          )
      },
    })
  return helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID)
}
