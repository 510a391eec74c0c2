// Part 3: who issues tokens, and the keys that they are checked with.

function checkKeys(jwks, where) {
  requireFields(jwks, { keys: is.array }, where);
  jwks.keys.forEach((jwk, at) => {
    const here = `${where}.keys[${at}]`;
    requireFields(jwk, { kid: is.text, kty: optional(is.text) }, here);
    if (jwk.x5c !== undefined) {
      require(jwk.x5c, is.array, `${here}.x5c`);
      if (jwk.x5c.length === 0) throw new Error(`${here}.x5c must have a certificate`);
      jwk.x5c.forEach((der, nth) => {
        require(der, is.text, `${here}.x5c[${nth}]`);
        require(`-----BEGIN CERTIFICATE-----\n${der}\n-----END CERTIFICATE-----`, is.certificates, `${here}.x5c[${nth}]`);
      });
    } else if (jwk.n !== undefined && jwk.e !== undefined) {
      requireFields(jwk, { n: is.text, e: is.text }, here);
    } else if (jwk.x !== undefined && jwk.y !== undefined) {
      requireFields(jwk, { x: is.text, y: is.text, crv: is.text }, here);
    } else {
      throw new Error(`${here} must have x5c, or n and e of an RSA key, or x, y and crv of an EC key`);
    }
  });
}

function checkIssuer(args) {
  requireFields(args, {
    issuer: is.text,
    auto_refresh: optional(is.boolean),
    ca_cert_bundle_name: optional(is.text),
    jwks: optional(is.object),
  });
  if (args.jwks) checkKeys(args.jwks, "jwks");
  if (args.auto_refresh) {
    throw new Error(
      "auto_refresh must be false: keys are not fetched here, so that what they are stands in the ledger. " +
        "Give them as jwks, and new ones with set_jwt_public_signing_keys",
    );
  }
}

function setIssuer({ issuer, jwks, ...metadata }) {
  writeJson("jwt.issuers", key(issuer), { auto_refresh: false, ...metadata });
  if (jwks) ccf.setJwtPublicSigningKeys(issuer, metadata, jwks);
}

function setIssuersKeys({ issuer, jwks }) {
  const metadata = readJson("jwt.issuers", key(issuer));
  if (metadata === undefined) throw new Error(`issuer ${issuer} not found`);
  ccf.setJwtPublicSigningKeys(issuer, metadata, jwks);
}

function removeIssuer({ issuer }) {
  if (!table("jwt.issuers").has(key(issuer))) return;
  table("jwt.issuers").delete(key(issuer));
  ccf.removeJwtPublicSigningKeys(issuer);
}
