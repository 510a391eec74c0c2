// Two vats, left and right: left passes a message on, and is told what became of it.
function buildRootObject(E) {
  return harden({
    bootstrap(argv, vats) {
      E(vats.left)
        .callRight(argv[0] || 1, vats.right)
        .then((answer) => console.log(`bootstrap.then ${answer}`))
    },
  })
}

export default function setup(syscall, state, helpers) {
  return helpers.makeLiveSlots(syscall, state, buildRootObject, helpers.vatID)
}
