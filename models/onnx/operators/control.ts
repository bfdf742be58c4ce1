/** Recurrent networks, branches and loops, sequences, windows of signals. */
import * as vg from "../../../engine/mod.ts";
import { type Tensor } from "../../../engine/mod.ts";
import { type Call, type OnnxOperator, outputs } from "../file/run_graph.ts";
import { Known, known, lacks, shapeOf, type Single, toTensor, type Value, vector } from "../file/values.ts";

type Step = (x: Tensor, state: Tensor[]) => Tensor[];

/** Input [T, N, I], weights of one direction, and the states over time. */
function recurrent(call: Call, gates: number, make: (w: Tensor, r: Tensor, b: [Tensor, Tensor], p?: Tensor) => Step) {
  const direction = call.attribute("direction", "forward");
  const hidden = call.integer("hidden_size", 0);
  for (const name of ["activations", "clip", "activation_alpha"]) {
    if (call.node.attributes.has(name)) lacks(`recurrent networks with ${name}`);
  }
  if (call.has(4)) lacks("recurrent networks with lengths of sequences");
  const layout = call.integer("layout", 0);
  const x = layout ? call.t(0).transpose({ axes: [1, 0, 2] }) : call.t(0);
  const [steps, batch] = x.shape;
  const cells = gates === 4 ? 2 : 1;
  const ways = direction === "bidirectional" ? 2 : 1;
  const results = Array.from({ length: ways }, (_, way) => {
    const [w, r] = [1, 2].map((k) => call.t(k).select({ axis: 0, index: way }));
    const zero = vg.zeros([gates * hidden]);
    const both = call.has(3) ? call.t(3).select({ axis: 0, index: way }).chunk({ parts: 2 }) : [zero, zero];
    const peephole = gates === 4 && call.has(7) ? call.t(7).select({ axis: 0, index: way }) : undefined;
    const step = make(w.transpose(), r.transpose(), both as [Tensor, Tensor], peephole);
    const start = (k: number): Tensor => {
      if (!call.has(k)) return vg.zeros([batch, hidden]);
      const own = layout ? call.t(k).transpose({ axes: [1, 0, 2] }) : call.t(k);
      return own.select({ axis: 0, index: way });
    };
    let state = [start(5), ...(cells === 2 ? [start(6)] : [])];
    const back = direction === "reverse" || way === 1;
    const list: Tensor[] = [];
    for (let t = 0; t < steps; t++) {
      const at = back ? steps - 1 - t : t;
      state = step(x.select({ axis: 0, index: at }), state);
      list[at] = state[0];
    }
    return { list: vg.stack(list), state };
  });
  const y = vg.stack(results.map((r) => r.list), { axis: 1 });
  const last = Array.from({ length: cells }, (_, k) => vg.stack(results.map((r) => r.state[k])));
  if (!layout) return outputs(y, ...last);
  return outputs(y.transpose({ axes: [2, 0, 1, 3] }), ...last.map((t) => t.transpose({ axes: [1, 0, 2] })));
}

const isTrue = (value: Value, what: string): boolean =>
  value instanceof Known ? value.data[0] !== 0 : lacks(`${what} that depends on data`);

/** Joins results of iterations along a new first axis. */
const stacked = (list: readonly Value[]): Value =>
  list.every((v) => v instanceof Known)
    ? known(
      [list.length, ...(list[0] as Known).shape],
      (list as Known[]).flatMap((v) => v.list),
      (list[0] as Known).type,
    )
    : vg.stack(list.map((v) => toTensor(v)));

const sequence = (value: Value | null): readonly Value[] =>
  Array.isArray(value) ? value : lacks("a tensor where a sequence is needed");
const indexOf = (call: Call, k: number, n: number): number => {
  const index = call.number(k);
  return index < 0 ? index + n : index;
};

/** a0 - a1 cos(2 pi k / n) + a2 cos(4 pi k / n) for a window that is periodic or symmetric. */
const signalWindow = (...a: number[]): OnnxOperator => (call) => {
  const size = call.number(0);
  const n = call.integer("periodic", 1) ? size : size - 1;
  const value = (k: number): number =>
    a.reduce((sum, c, j) => sum + (j % 2 ? -c : c) * Math.cos((2 * Math.PI * j * k) / n), 0);
  return vector(Array.from({ length: size }, (_, k) => value(k)), 1);
};

export const control: Readonly<Record<string, OnnxOperator>> = {
  RNN: (call) => recurrent(call, 1, (w, r, [b, c]) => (x, [h]) => [x.matmul(w).add(h.matmul(r)).add(b.add(c)).tanh()]),
  GRU: (call) =>
    recurrent(call, 3, (w, r, [b, c]) => {
      const before = call.integer("linear_before_reset", 0) === 1;
      return (x, [h]) => {
        const [xz, xr, xh] = x.matmul(w).add(b).chunk({ parts: 3, axis: 1 });
        const [hz, hr] = h.matmul(r).add(c).chunk({ parts: 3, axis: 1 });
        const rh = r.chunk({ parts: 3, axis: 1 })[2];
        const own = c.chunk({ parts: 3 })[2];
        const z = xz.add(hz).sigmoid();
        const reset = xr.add(hr).sigmoid();
        const inner = before ? reset.mul(h.matmul(rh).add(own)) : reset.mul(h).matmul(rh).add(own);
        const next = xh.add(inner).tanh();
        return [next.mul(z.neg().add(1)).add(h.mul(z))];
      };
    }),
  LSTM: (call) =>
    recurrent(call, 4, (w, r, [b, c], peephole) => (x, [h, cell]) => {
      const [i, o, f, g] = x.matmul(w).add(h.matmul(r)).add(b.add(c)).chunk({ parts: 4, axis: 1 });
      const [pi, po, pf] = peephole ? peephole.chunk({ parts: 3 }) : [null, null, null];
      const peek = (gate: Tensor, p: Tensor | null, state: Tensor): Tensor =>
        (p ? gate.add(p.mul(state)) : gate).sigmoid();
      const next = peek(f, pf, cell).mul(cell).add(peek(i, pi, cell).mul(g.tanh()));
      return [peek(o, po, next).mul(next.tanh()), next];
    }),
  If: (call) => {
    const chosen = isTrue(call.inputs[0]!, "a condition");
    return outputs(
      ...call.run(call.graph(chosen ? "then_branch" : "else_branch"), []),
    );
  },
  Loop: (call) => {
    const body = call.graph("body");
    const most = call.has(0) ? call.number(0) : Infinity;
    let go = call.has(1) ? isTrue(call.inputs[1]!, "a condition") : true;
    let carried = call.inputs.slice(2) as Value[];
    const kept: Value[][] = [];
    for (let k = 0; k < most && go; k++) {
      const [next, ...rest] = call.run(body, [known([], [k]), known([], [1], 9), ...carried]);
      go = isTrue(next, "a condition");
      carried = rest.slice(0, carried.length);
      kept.push(rest.slice(carried.length));
    }
    const scans = (kept[0] ?? []).map((_, j) => stacked(kept.map((row) => row[j])));
    return outputs(...carried, ...scans);
  },
  Scan: (call) => {
    if (call.opset < 9) lacks("Scan of version 8");
    const body = call.graph("body");
    const count = call.integer("num_scan_inputs", 0);
    for (const name of ["scan_input_directions", "scan_output_directions", "scan_input_axes", "scan_output_axes"]) {
      if (call.list(name)?.some((v) => v !== 0)) lacks(`Scan with ${name}`);
    }
    const states = call.inputs.length - count;
    let state = call.inputs.slice(0, states) as Value[];
    const over = call.inputs.slice(states).map((_, k) => call.t(states + k));
    const kept: Value[][] = [];
    for (let k = 0; k < over[0].shape[0]; k++) {
      const all = call.run(body, [...state, ...over.map((t) => t.select({ index: k }))]);
      state = all.slice(0, states);
      kept.push(all.slice(states));
    }
    return outputs(...state, ...kept[0].map((_, j) => stacked(kept.map((row) => row[j]))));
  },
  SequenceEmpty: () => outputs([]),
  SequenceConstruct: (call) => outputs(call.inputs as Value[]),
  SequenceLength: (call) => known([], [sequence(call.inputs[0]).length]),
  SequenceAt: (call) => {
    const list = sequence(call.inputs[0]);
    return outputs(list[indexOf(call, 1, list.length)]);
  },
  SequenceInsert: (call) => {
    const list = [...sequence(call.inputs[0])];
    list.splice(call.has(2) ? indexOf(call, 2, list.length) : list.length, 0, call.inputs[1]!);
    return outputs(list);
  },
  SequenceErase: (call) => {
    const list = [...sequence(call.inputs[0])];
    list.splice(call.has(1) ? indexOf(call, 1, list.length) : list.length - 1, 1);
    return outputs(list);
  },
  SequenceMap: (call) => {
    const body = call.graph("body");
    const first = sequence(call.inputs[0]);
    const rows = first.map((_, k) =>
      call.run(body, call.inputs.map((v) => (Array.isArray(v) ? (v as Value[])[k] : v!)))
    );
    return outputs(...body.outputs.map((_, j) => rows.map((row) => row[j])));
  },
  ConcatFromSequence: (call) => {
    const list = sequence(call.inputs[0]).map(toTensor);
    const axis = call.integer("axis", 0);
    return call.integer("new_axis", 0) ? vg.stack(list, { axis }) : vg.concat(list, { axis });
  },
  SplitToSequence: (call) => {
    const x = call.t(0);
    const axis = (call.integer("axis", 0) + x.rank) % x.rank;
    const n = x.shape[axis];
    const given = call.has(1) ? call.single(1) : known([], [1]);
    const each = shapeOf(given).length === 0 ? (given as Known).data[0] : 0;
    const sizes = each
      ? Array.from({ length: Math.ceil(n / each) }, (_, k) => Math.min(each, n - k * each))
      : call.numbers(1);
    let start = 0;
    const parts: Single[] = sizes.map((length) => {
      const part = x.narrow({ axis, start, length });
      start += length;
      return call.has(1) || call.integer("keepdims", 1) ? part : part.squeeze({ axes: [axis] });
    });
    return outputs(parts);
  },
  HannWindow: signalWindow(0.5, 0.5),
  HammingWindow: signalWindow(25 / 46, 21 / 46),
  BlackmanWindow: signalWindow(0.42, 0.5, 0.08),
  Optional: () => lacks("optional values"),
};
