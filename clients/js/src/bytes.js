// Bytes and their spellings.

export const utf8 = text => new TextEncoder().encode(text)

export const hex = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')

export function unhex (text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new Error('not hex digits')
  return Uint8Array.from(text.match(/../g) ?? [], digits => parseInt(digits, 16))
}

export const base64 = bytes => btoa(String.fromCharCode(...bytes))

export const unbase64 = text => Uint8Array.from(atob(text), char => char.charCodeAt(0))

export function concat (...parts) {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

export const sha256 = async bytes => new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))

/** The content of the first PEM block with this label. */
export function unpem (text, label) {
  const block = new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]*)-----END ${label}-----`).exec(text)
  if (!block) throw new Error(`not the PEM text of a ${label.toLowerCase()}`)
  return unbase64(block[1].replace(/\s/g, ''))
}
