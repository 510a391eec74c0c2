function buildRootObject(E) {
  return harden({
    callRight(arg1, right) {
      console.log(`left.callRight ${arg1}`)
      E(right)
        .bar(2)
        .then((a) => console.log(`left.then ${a}`))
      return 3
    },
  })
}

export default function setup(syscall, state, helpers) {
  return helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID)
}
