// Bot's end of the line: it stands for the objects of the other machine.
export { default } from '@agoric/swingset-vat/src/vats/comms'
