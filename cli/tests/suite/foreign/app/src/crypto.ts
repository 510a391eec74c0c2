// Every function of the package's crypto, by name. Bytes are {"hex": …} in requests and responses.
import * as crypto from "@microsoft/ccf-app/crypto";
import { snp_attestation } from "@microsoft/ccf-app/global";
import { verifySnpAttestation } from "@microsoft/ccf-app/snp_attestation";
import { TextEncoder } from "@microsoft/ccf-app/textcodec";
import type { Request, Response } from "@microsoft/ccf-app/endpoints";
import { bytesOf, hexOf } from "./hex.js";

const fromPlain = (value: any): any => {
  if (typeof value !== "object" || value === null) return value;
  if (typeof value.hex === "string") return bytesOf(value.hex);
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, fromPlain(field)]));
};
const toPlain = (value: any): any => {
  if (value instanceof ArrayBuffer) return { hex: hexOf(value) };
  return ArrayBuffer.isView(value) ? { hex: hexOf(value as Uint8Array) } : value;
};

/** `{"args": […]}` or a list of such, which run in one transaction. */
export function call(request: Request): Response {
  const fn = (crypto as unknown as { [name: string]: (...args: any[]) => any })[request.params.name];
  const one = ({ args }: { args: any[] }) => {
    try {
      return { result: toPlain(fn(...args.map(fromPlain))) };
    } catch (error: any) {
      return { error: `${error.name}: ${error.message}` };
    }
  };
  const body = request.body.json();
  return { body: Array.isArray(body) ? body.map(one) : one(body) };
}

export function snp(request: Request): Response {
  const { evidence, endorsements } = request.body.json();
  try {
    const { attestation } = verifySnpAttestation(bytesOf(evidence), bytesOf(endorsements));
    return { body: { measurement: hexOf(attestation.measurement), version: attestation.version } };
  } catch (error: any) {
    return { statusCode: 400, body: { name: error.name, message: error.message, global: typeof snp_attestation } };
  }
}

export function text(request: Request): Response {
  const encoder = new TextEncoder();
  const encoded: Uint8Array = encoder.encode(request.body.text());
  return { headers: { "x-encoding": encoder.encoding, "x-bytes": String(encoded.length) }, body: encoded };
}
