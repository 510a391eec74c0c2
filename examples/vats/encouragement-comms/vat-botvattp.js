// Bot's transport: it numbers messages, and sees to it that each arrives once.
export { default } from '@agoric/swingset-vat/src/vats/vattp'
