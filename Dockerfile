# The node on a robot without a GPU, beside the robot's other ROS 2 Jazzy processes:
#   docker build -t pixio_node .
#   docker run --rm --network=host pixio_node image_topic:=/camera/image_raw
FROM ros:jazzy-ros-base AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates curl git python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN curl --proto =https -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal
ENV PATH=/root/.cargo/bin:$PATH
WORKDIR /opt/pixio_node
COPY . .
RUN scripts/install /opt/pixio && rm -rf target

FROM ros:jazzy-ros-base
RUN apt-get update \
    && apt-get install -y --no-install-recommends libopencv-core406t64 libopencv-imgproc406t64 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/pixio /opt/pixio
# The binary finds libtorch where it was built.
COPY --from=build /opt/pixio_node/.venv /opt/pixio_node/.venv
COPY <<'START' /start
#!/bin/bash
. /opt/ros/jazzy/setup.bash
. /opt/pixio/share/pixio_node/local_setup.sh
exec ros2 launch pixio_node pixio.launch.py "$@"
START
RUN chmod +x /start
# Checkpoints and compiled engines: mount a folder here to keep them.
VOLUME /root/.cache
ENTRYPOINT ["/start"]
