"""Validates OpenAPI documents with a public validator: openapi.py FILE…"""

import json
import pathlib
import sys

from openapi_spec_validator import OpenAPIV30SpecValidator, validate

for name in sys.argv[1:]:
    document = json.loads(pathlib.Path(name).read_text())
    assert document["openapi"].startswith("3.0."), document["openapi"]
    validate(document, cls=OpenAPIV30SpecValidator)
    # What it does not look at: each operation of a document has a name of its own, if any.
    names = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict) and "operationId" in operation
    ]
    assert len(names) == len(set(names))
    print(name, len(document["paths"]))
