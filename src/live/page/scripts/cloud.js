/** Points by WebGL: one vertex for each pixel of the depth map, placed and coloured on the GPU. */

const VERTEX = `#version 300 es
precision highp float;
precision highp usampler2D;
uniform usampler2D depth;   // multiples of uScale
uniform float uScale;       // metres
uniform vec4 uLens;         // fx, fy, cx, cy of the depth map
uniform vec4 uImage;        // texture coordinate = pixel * xy + zw
uniform vec4 uCamera;       // share of the camera's image = pixel * xy + zw
uniform mat3 uTurn;
uniform float uPivot;       // metres before the camera
uniform float uDistance;    // from the eye to the pivot
uniform vec2 uFocal;        // of the view, in half widths and half heights
uniform vec2 uHalf;         // half of the canvas, pixels
out vec2 at;

void main() {
  ivec2 size = textureSize(depth, 0);
  ivec2 pixel = ivec2(gl_VertexID % size.x, gl_VertexID / size.x);
  float z = uScale * float(texelFetch(depth, pixel, 0).r);
  vec2 p = vec2(pixel);
  vec3 point = vec3((p - uLens.zw) / uLens.xy * z, z);
  vec3 seen = uTurn * (point - vec3(0.0, 0.0, uPivot)) + vec3(0.0, 0.0, uDistance);
  vec2 share = p * uCamera.xy + uCamera.zw;
  bool isInside = all(greaterThanEqual(share, vec2(0.0))) && all(lessThanEqual(share, vec2(1.0)));
  const float near = 0.05, far = 500.0;
  float clipZ = (seen.z * (far + near) - 2.0 * far * near) / (far - near);
  gl_Position = isInside && z > 0.0
    ? vec4(seen.x * uFocal.x, -seen.y * uFocal.y, clipZ, seen.z)
    : vec4(2.0, 2.0, 2.0, 1.0);  // outside of what is drawn
  vec2 pixels = uHalf * uFocal * z / (uLens.xy * max(seen.z, near));
  gl_PointSize = clamp(1.4 * max(pixels.x, pixels.y), 1.0, 24.0);
  at = p * uImage.xy + uImage.zw;
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
uniform sampler2D image;
in vec2 at;
out vec4 color;
void main() { color = vec4(texture(image, at).rgb, 1.0); }`;

export class Cloud {
  #gl;
  #program;
  #textures;
  #nPoints = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @throws {Error} where there is no WebGL 2
   */
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: false });
    if (!gl) throw new Error("This browser gives no WebGL 2, which draws the points");
    this.#gl = gl;
    this.#program = link(gl);
    gl.useProgram(this.#program);
    gl.enable(gl.DEPTH_TEST);
    gl.bindVertexArray(gl.createVertexArray());
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.#textures = ["depth", "image"].map((name, unit) => {
      const texture = gl.createTexture();
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      const filter = name === "depth" ? gl.NEAREST : gl.LINEAR;
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
      gl.uniform1i(this.#at(name), unit);
      return texture;
    });
  }

  /**
   * Takes a depth map and what colours its points.
   * @param {{values: Uint16Array, size: [number, number], scale: number}} depth
   * @param {TexImageSource} image
   * @param {{lens: number[], image: number[], camera: number[]}} place as the shader has them
   */
  load({ values, size, scale }, image, place) {
    const gl = this.#gl;
    gl.activeTexture(gl.TEXTURE0);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.R16UI, ...size, 0, gl.RED_INTEGER, gl.UNSIGNED_SHORT, values);
    gl.activeTexture(gl.TEXTURE1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, image);
    gl.uniform1f(this.#at("uScale"), scale);
    gl.uniform4fv(this.#at("uLens"), place.lens);
    gl.uniform4fv(this.#at("uImage"), place.image);
    gl.uniform4fv(this.#at("uCamera"), place.camera);
    this.#nPoints = values.length;
  }

  /**
   * Draws the points.
   * @param {{turn: number[], pivot: number, distance: number, focal: [number, number]}} eye
   */
  draw({ turn, pivot, distance, focal }) {
    const gl = this.#gl;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0.07, 0.08, 0.09, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix3fv(this.#at("uTurn"), false, turn);
    gl.uniform1f(this.#at("uPivot"), pivot);
    gl.uniform1f(this.#at("uDistance"), distance);
    gl.uniform2fv(this.#at("uFocal"), focal);
    gl.uniform2f(this.#at("uHalf"), gl.drawingBufferWidth / 2, gl.drawingBufferHeight / 2);
    gl.drawArrays(gl.POINTS, 0, this.#nPoints);
  }

  #at(name) {
    return this.#gl.getUniformLocation(this.#program, name);
  }
}

function link(gl) {
  const program = gl.createProgram();
  for (const [kind, source] of [
    [gl.VERTEX_SHADER, VERTEX],
    [gl.FRAGMENT_SHADER, FRAGMENT],
  ]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (gl.getProgramParameter(program, gl.LINK_STATUS) || gl.isContextLost()) return program;
  const logs = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader));
  throw new Error(`WebGL refuses the points' program: ${logs.join(" ")}${gl.getProgramInfoLog(program)}`);
}
