export default function setup(syscall, state, helpers) {
  const log = (line) => {
    helpers.log(line)
    console.log(line)
  }
  const buildRootObject = () =>
    harden({
      talkToBot(bot, botName) {
        log(`=> user.talkToBot is called with ${botName}`)
        bot
          ~.encourageMe({ name: 'user' })
          .then((encouragement) => log(`=> user receives the encouragement: ${encouragement}`))
        return 'Thanks for the setup. I sure hope I get some encouragement...'
      },
    })
  return helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID)
}
