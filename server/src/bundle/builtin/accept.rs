//! `accept`: what is built in speaks JSON, and refuses who wants something else.

use machine::bundle::{Request, Response};

const JSON: (&str, &str) = ("application", "json");

/// The response, unless it is JSON that the client does not take.
pub fn agreed(request: &Request, response: Response) -> Response {
    let is_json = response.headers.iter().any(|(name, value)| name == "content-type" && value == "application/json");
    let Some(accept) = request.header("accept").filter(|_| is_json && response.is_success()) else { return response };
    let mut takes = false;
    for entry in accept.split(',') {
        let mime = entry.split(';').next().unwrap_or_default().trim();
        let Some((kind, subtype)) = mime.split_once('/').filter(|(kind, subtype)| !kind.is_empty() && !subtype.is_empty()) else {
            return Response::error(
                400,
                "InvalidHeaderValue",
                format!("Entry in Accept header is not a valid MIME type: {mime}"),
            );
        };
        takes |= matches!((kind, subtype), ("*", "*") | ("application", "*")) || (kind, subtype) == JSON;
    }
    if takes {
        return response;
    }
    let message = format!("No supported content type in accept header: {accept}\nOnly application/json is currently supported");
    Response::error(406, "UnsupportedContentType", message)
}
