"""Asking a dashboard's callbacks over HTTP, as the browser does."""

import json
from typing import Any

from assay.accounts.models import User
from django.test import Client

TOLD: dict[str, dict[str, dict[str, Any]]] = {}  # by page


def signed_in(user: User | None) -> Client:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client


def server_callbacks(client: Client, page: str) -> dict[str, dict[str, Any]]:
    """The callbacks of `page` that run on the server, by their first output, as the browser is told of them."""
    if page not in TOLD:  # they are the same for everybody
        told = client.get(f"/dashboards/{page}/_dash-dependencies").json()
        TOLD[page] = {one["output"].strip(".").split("...")[0]: one for one in told if not one["clientside_function"]}
    return TOLD[page]


def call(client: Client, page: str, first_output: str, changed: str = "", **values: Any) -> Any:
    """Ask for a callback. `values` by component id or by "id.property"; those not given are None."""
    told = server_callbacks(client, page)[first_output]

    def filled(part: dict[str, Any]) -> dict[str, Any]:
        by_id = None if part["property"] == "search_value" else values.get(part["id"])
        return {**part, "value": values.get(f"{part['id']}.{part['property']}", by_id)}

    outputs = [dict(zip(("id", "property"), name.rsplit(".", 1), strict=True))
               for name in told["output"].strip(".").split("...")]
    body = {
        "output": told["output"], "outputs": outputs if told["output"].startswith("..") else outputs[0],
        "inputs": [filled(part) for part in told["inputs"]], "state": [filled(part) for part in told["state"]],
        "changedPropIds": [changed] if changed else [],
    }
    return client.post(f"/dashboards/{page}/_dash-update-component", json.dumps(body), content_type="application/json")


def props(response: Any) -> dict[str, Any]:
    """What a callback changes: values by "id.property"."""
    assert response.status_code == 200, response.content
    return {f"{name}.{key}": value for name, part in response.json()["response"].items() for key, value in part.items()}
