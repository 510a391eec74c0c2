// The vat with a good word for everybody.
export default function setup(syscall, state, helpers) {
  const log = (line) => {
    helpers.log(line)
    console.log(line)
  }
  const buildRootObject = () =>
    harden({
      encourageMe(name) {
        log(`=> encouragementBot.encourageMe got the name: ${name}`)
        return `${name}, you are awesome, keep it up!`
      },
    })
  return helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID)
}
