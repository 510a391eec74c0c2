// Part 4: the actions. `check` looks at the arguments when a proposal is made; `apply` does it once it is accepted.

// Fields, and nothing else to look at.
const fields = (checks) => (args) => requireFields(args, checks);

// What was voted on under another constitution is not voted on under this one.
function dropOtherProposals(proposalId) {
  table("proposals_info").forEach((row, id) => {
    const info = ccf.bufToJsonCompatible(row);
    if (ccf.bufToStr(id) === proposalId || info.state !== "Open") return;
    writeJson("proposals_info", id, { ...info, state: "Dropped" });
  });
}

function setMember({ cert, encryption_pub_key, member_data, recovery_role }) {
  const id = key(ccf.pemToId(cert));
  table("members.certs").set(id, ccf.strToBuf(cert));
  if (encryption_pub_key) table("members.encryption_public_keys").set(id, ccf.strToBuf(encryption_pub_key));
  else table("members.encryption_public_keys").delete(id);
  // A member becomes active by signing what the state is.
  writeJson("members.info", id, { member_data, recovery_role: recovery_role ?? undefined, status: "Accepted" });
  if (!table("members.acks").has(id)) writeJson("members.acks", id, { state_digest: "" });
}

function removeMember({ member_id }) {
  for (const name of ["certs", "info", "encryption_public_keys", "acks"]) table(`members.${name}`).delete(key(member_id));
  table("history").delete(key(member_id));
  table("cose_history").delete(key(member_id));
}

function changeMember({ member_id, member_data }) {
  const info = readJson("members.info", key(member_id));
  if (info === undefined) throw new Error(`Member ${member_id} does not exist`);
  writeJson("members.info", key(member_id), { ...info, member_data });
}

function setUserData(user_id, user_data) {
  if (user_data === undefined || user_data === null) table("users.info").delete(key(user_id));
  else writeJson("users.info", key(user_id), { user_data });
}

function setUser({ cert, user_data }) {
  const id = ccf.pemToId(cert);
  table("users.certs").set(key(id), ccf.strToBuf(cert));
  setUserData(id, user_data);
}

function removeUser({ user_id }) {
  table("users.certs").delete(key(user_id));
  table("users.info").delete(key(user_id));
}

function configure(changes) {
  const given = Object.entries(changes).filter(([, value]) => value !== undefined && value !== null);
  writeJson("service.config", SINGLETON, { ...readJson("service.config"), ...Object.fromEntries(given) });
}

function assertIdentity({ service_identity }) {
  const words = (pem) => pem.split(/\s+/).filter((word) => word !== "").join(" ");
  const info = readJson("service.info");
  if (words(service_identity) !== words(info?.cert ?? "")) {
    throw new Error("service_identity is not the certificate of this service");
  }
}

const DAYS = is.whole(1, 10_000);
const VALIDITY = { valid_from: is.text, validity_period_days: optional(DAYS) };

// One node keeps the certificates that it began with.
function noNewCertificates() {
  throw new Error("certificates are not renewed by a single node");
}

const ACTIONS = {
  set_constitution: {
    check: ({ constitution } = {}) => {
      require(constitution, is.text, "constitution");
      ccf.gov.validateConstitution(constitution);
    },
    apply({ constitution }, proposalId) {
      writeJson("constitution", SINGLETON, constitution);
      dropOtherProposals(proposalId);
    },
  },

  set_member: {
    check: fields({
      cert: is.certificates,
      encryption_pub_key: optional(is.text),
      member_data: optional(is.object),
      recovery_role: optional(is.oneOf("NonParticipant", "Participant", "Owner")),
    }),
    apply: setMember,
  },
  remove_member: { check: fields({ member_id: is.id }), apply: removeMember },
  set_member_data: { check: fields({ member_id: is.id, member_data: optional(is.object) }), apply: changeMember },

  set_user: { check: fields({ cert: is.certificates, user_data: optional(is.object) }), apply: setUser },
  remove_user: { check: fields({ user_id: is.id }), apply: removeUser },
  set_user_data: {
    check: fields({ user_id: is.id, user_data: optional(is.object) }),
    apply: ({ user_id, user_data }) => setUserData(user_id, user_data),
  },

  set_js_app: {
    check(args) {
      requireFields(args, { bundle: is.object, disable_bytecode_cache: optional(is.boolean) });
      checkApp(args.bundle);
    },
    apply({ bundle, disable_bytecode_cache }) {
      deployApp(bundle);
      if (!disable_bytecode_cache) ccf.refreshAppBytecodeCache();
    },
  },
  remove_js_app: { check: requireNothing, apply: removeApp },
  set_js_runtime_options: {
    check: fields(OPTIONS),
    apply: (args) => writeJson("js_runtime_options", SINGLETON, args),
  },
  refresh_js_app_bytecode_cache: { check: requireNothing, apply: () => ccf.refreshAppBytecodeCache() },

  set_ca_cert_bundle: {
    check: fields({ name: is.text, cert_bundle: is.certificates }),
    apply: ({ name, cert_bundle }) => writeJson("tls.ca_cert_bundles", key(name), cert_bundle),
  },
  remove_ca_cert_bundle: {
    check: fields({ name: is.text }),
    apply: ({ name }) => table("tls.ca_cert_bundles").delete(key(name)),
  },

  set_jwt_issuer: { check: checkIssuer, apply: setIssuer },
  set_jwt_public_signing_keys: {
    check(args) {
      requireFields(args, { issuer: is.text, jwks: is.object });
      checkKeys(args.jwks, "jwks");
    },
    apply: setIssuersKeys,
  },
  remove_jwt_issuer: { check: fields({ issuer: is.text }), apply: removeIssuer },

  transition_service_to_open: {
    check: fields({ next_service_identity: is.certificates, previous_service_identity: optional(is.certificates) }),
    apply({ previous_service_identity, next_service_identity }) {
      ccf.node.transitionServiceToOpen(previous_service_identity ?? undefined, next_service_identity);
    },
  },
  assert_service_identity: { check: fields({ service_identity: is.certificates }), apply: assertIdentity },
  set_service_configuration: {
    check: fields({
      recovery_threshold: optional(is.whole(0, 254)),
      maximum_node_certificate_validity_days: optional(DAYS),
      maximum_service_certificate_validity_days: optional(DAYS),
      recent_cose_proposals_window_size: optional(is.whole(1, 10_000)),
    }),
    apply: configure,
  },
  // Kept and shown, and of no effect: there are no recovery shares.
  set_recovery_threshold: { check: fields({ recovery_threshold: is.whole(0, 254) }), apply: configure },

  set_node_certificate_validity: { check: fields({ node_id: is.id, ...VALIDITY }), apply: noNewCertificates },
  set_all_nodes_certificate_validity: { check: fields(VALIDITY), apply: noNewCertificates },
  set_service_certificate_validity: { check: fields(VALIDITY), apply: noNewCertificates },

  // Accepted, and of no effect: chunks, snapshots and the ledger's secret are not theirs to time.
  trigger_ledger_chunk: { check: requireNothing, apply: () => ccf.node.triggerLedgerChunk() },
  trigger_snapshot: { check: requireNothing, apply: () => ccf.node.triggerSnapshot() },
  trigger_ledger_rekey: { check: requireNothing, apply: () => ccf.node.triggerLedgerRekey() },
  trigger_recovery_shares_refresh: { check: requireNothing, apply: () => ccf.node.triggerRecoverySharesRefresh() },
};
