function buildRootObject() {
  return harden({
    bar(arg2) {
      console.log(`right.bar ${arg2}`)
      return 4
    },
  })
}

export default function setup(syscall, state, helpers) {
  return helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID)
}
