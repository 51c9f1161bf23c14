"""Teach and SaveHead as rosidl makes them: rclpy serves and calls them, and they have the fields that the
node reads."""

from pixio_node.srv import SaveHead, Teach

TAUGHT = {"camera": "front", "class_name": "sofa", "x": [10.0, 319.5], "y": [20.25, 0.0], "forget": True}


def exchanged(peer, kind, answer, **fields):
    """What the server is asked, and the answer that the client gets."""
    asked = []

    def serve(request, response):
        asked.append(request)
        for name, value in answer.items():
            setattr(response, name, value)
        return response

    name = f"/exchanged/{kind.__name__.lower()}"
    service, client = peer.node.create_service(kind, name, serve), peer.node.create_client(kind, name)
    try:
        peer.meet(client.service_is_ready)
        return peer.ask(client.call_async, kind.Request(**fields)), asked[0]
    finally:
        peer.node.destroy_client(client)
        peer.node.destroy_service(service)


def test_a_call_of_teach_arrives_whole_and_is_answered(peer):
    answer = {"success": True, "message": "sofa has 2 exemplars", "class_id": 255, "exemplars": 2**32 - 1}
    got, asked = exchanged(peer, Teach, answer, **TAUGHT)
    assert asked == Teach.Request(**TAUGHT)
    assert got == Teach.Response(**answer)


def test_a_call_of_save_head_arrives_whole_and_is_answered(peer):
    answer = {"success": False, "message": "nothing has been taught"}
    got, asked = exchanged(peer, SaveHead, answer, path="/tmp/taught.safetensors")
    assert asked.path == "/tmp/taught.safetensors"
    assert got == SaveHead.Response(**answer)


def test_the_fields_are_those_that_the_node_reads():
    doubles = "sequence<double>"
    assert Teach.Request.get_fields_and_field_types() == {
        "camera": "string",
        "class_name": "string",
        "x": doubles,
        "y": doubles,
        "forget": "boolean",
    }
    assert Teach.Response.get_fields_and_field_types() == {
        "success": "boolean",
        "message": "string",
        "class_id": "uint8",
        "exemplars": "uint32",
    }
    assert SaveHead.Request.get_fields_and_field_types() == {"path": "string"}
    assert SaveHead.Response.get_fields_and_field_types() == {"success": "boolean", "message": "string"}
