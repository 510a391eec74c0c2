// Libraries that know nothing of this place: one of CommonJS that brings its own big numbers and crypto, one of ES modules.
import rs from "jsrsasign";
import { chunk, cloneDeep, groupBy, isEqual, merge, template } from "lodash-es";
import type { Request, Response } from "@microsoft/ccf-app/endpoints";

const { KJUR, KEYUTIL, X509, hextob64u } = rs;

/** Body: `{token, certificate}`: the token is signed with the certificate's key. */
export function use(request: Request): Response {
  const { token, certificate } = request.body.json();
  const x509 = new X509();
  x509.readCertPEM(certificate);
  const key = KEYUTIL.getKey(certificate);
  const mac = new KJUR.crypto.Mac({ alg: "HmacSHA256", pass: { utf8: "key" } });
  mac.updateString("The quick brown fox jumps over the lazy dog");
  const nested = { list: [1, { two: 2 }] };
  return {
    body: {
      subject: x509.getSubjectString(),
      valid: KJUR.jws.JWS.verify(token, key as any, ["ES256"]),
      mac: mac.doFinal(),
      sha512: KJUR.crypto.Util.hashString("abc", "sha512"),
      base64: hextob64u("fbff"),
      chunks: chunk([1, 2, 3, 4, 5], 2),
      groups: groupBy([1.2, 1.8, 2.1], Math.floor),
      equal: isEqual(cloneDeep(nested), merge({}, nested)),
      text: template("<%= name %>: <%- html %>")({ name: "a", html: "<b>" }),
    },
  };
}
