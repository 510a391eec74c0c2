// Who calls, in the package's types.
import type {
  AuthnIdentity,
  Request,
  Response,
  UserCOSESign1AuthnIdentity,
} from "@microsoft/ccf-app/endpoints";
import { ccf } from "@microsoft/ccf-app/global";

function summary(caller: AuthnIdentity | undefined): object {
  switch (caller?.policy) {
    case "user_cert":
    case "member_cert":
      return { policy: caller.policy, id: caller.id, data: caller.data, cert: caller.cert };
    case "any_cert":
      return { policy: caller.policy, cert: caller.cert };
    case "jwt":
      return { policy: caller.policy, issuer: caller.jwt.keyIssuer, payload: caller.jwt.payload };
    default:
      return { policy: caller?.policy ?? null };
  }
}

export function who(request: Request): Response {
  const { method, path, route, query, url } = request;
  return { body: { ...summary(request.caller), method, path, route, query, url } };
}

/** The content that a user has signed. */
export function signed(request: Request): Response {
  const caller = request.caller as UserCOSESign1AuthnIdentity;
  return { body: { id: caller.id, content: ccf.bufToStr(caller.cose.content) } };
}

/** Body: `{because}`: why it throws. */
export function broken(request: Request<{ because: string }>): Response {
  const { because } = request.body.json();
  const why: Error = new TypeError(because);
  throw why;
}
