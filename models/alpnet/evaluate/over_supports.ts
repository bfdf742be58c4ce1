/** One-shot segmentation over choices of the support. */
import {
  type CaseStore,
  type ClassComparison,
  type ComparedClass,
  compareLabels,
  Comparison,
  openCaseStore,
  type PreparedCase,
  readVolume,
  storeFolder,
  writeNifti,
} from "../../../engine/imaging/mod.ts";
import {
  ConfigError,
  counted,
  type OverlayCase,
  overlaySvg,
  print,
  type ReportTable,
  writeFigure,
  writeReport,
  writeTable,
} from "../../../engine/train/mod.ts";
import { copiedSegmenter } from "../copied.ts";
import { oneShotSegmenter, type PrototypeUse } from "../scans.ts";
import { sliceRanges } from "../slices.ts";
import { type Evaluation, openResults } from "./results.ts";
import {
  asClasses,
  diceOf,
  loaded,
  namesOf,
  NO_USE,
  printTable,
  SHOWN,
  tellUse,
  totalUse,
  valuesOf,
} from "./shared.ts";
import {
  drawSupports,
  notableSupports,
  pairTable,
  summarizeSupports,
  supportsSvg,
  supportTables,
} from "./statistics.ts";

interface PairResult {
  readonly support: string;
  readonly id: string;
  readonly prediction: string;
  readonly reference: string;
  readonly classes: readonly ClassComparison[];
  /** Dice of each class by `copiedSegmenter`. */
  readonly copied: readonly (number | null)[];
  readonly use: PrototypeUse;
}

/** Every case from every support. */
export async function evaluateSupports(evaluation: Evaluation): Promise<object> {
  const { options, encoder, dataset, ids, classes, output } = evaluation;
  // For another dataset the labels differ from the plan's.
  const plan = { ...encoder.plan, labels: dataset.labels.map(({ name }) => name) };
  const store = await openCaseStore(dataset, plan, {
    folder: storeFolder(options.cache, dataset, plan),
    workers: options.workers,
    memory: options.memory * 1e9,
    ids,
  });
  const supports = drawSupports(await able(evaluation, store), options.supports, options.seed);
  print(`Supports: ${supports.join(", ")}; each segments ${ids.length - 1} cases`);
  const { lines, results } = await openResults<PairResult>(evaluation);
  const same = (a: { support: string; id: string }, b: { support: string; id: string }): boolean =>
    a.support === b.support && a.id === b.id;
  const pairs = supports.flatMap((support) => ids.filter((id) => id !== support).map((id) => ({ support, id })));
  const todo = pairs.filter((pair) => !results.some((each) => same(each, pair)));
  if (todo.length < pairs.length) print(`${pairs.length - todo.length} of ${pairs.length} scans are segmented already`);
  const { slices, chunks } = encoder.fewShot;
  const segment = oneShotSegmenter(encoder.model, encoder.params, {
    ...encoder.fewShot,
    plan,
    batch: options.batch,
  });
  const copy = copiedSegmenter({ plan, slices, chunks });
  let current: PreparedCase | undefined;
  for (const { support, id } of counted(todo, "scan")) {
    if (current?.id !== support) current = onlyClasses(await store.get(support), classes);
    const { label, labelsPresent } = await loaded(evaluation, id);
    const query = await store.get(id);
    const given = options.ranges === "known" ? { ranges: sliceRanges(query, valuesOf(classes)) } : {};
    let use = NO_USE;
    const found = await segment(query, [current], { ...given, onPrototypes: (one) => void (use = one) });
    const copied = compareLabels(await copy(query, [current], given), label, { classes, labelsPresent });
    const prediction = `predictions/${id}_from_${support}.nii.gz`;
    await output.write(prediction, writeNifti(found, { dtype: "uint8", gzip: true }));
    const reference = dataset.cases.find((each) => each.id === id)!.label!;
    const result = {
      support,
      id,
      prediction,
      reference,
      classes: compareLabels(found, label, { classes, labelsPresent }),
      copied: copied.map(({ dice }) => dice),
      use,
    };
    await lines.add(result);
    await lines.flush();
    results.push(result);
  }
  const chosen = pairs.map((pair) => results.find((each) => same(each, pair))!);
  const summary = summarizeSupports(chosen);
  const use = totalUse(chosen.map((pair) => pair.use));
  tellUse(use);
  const [over, each] = supportTables(summary) as [ReportTable, ReportTable];
  const told = {
    supports: summary.supports,
    cases: ids.length - 1,
    ranges: options.ranges,
    classes: Object.fromEntries(
      summary.rows.map(({ name, Dice, HD95, copied }) => [name, { Dice, HD95, copied_mask_Dice: copied }]),
    ),
    local_prototypes: use,
  };
  await output.writeJson("metrics.json", told);
  const named = chosen.map((pair) => ({ ...pair, id: `${pair.id} from ${pair.support}` }));
  await output.write("metrics.csv", new Comparison(named).toCsv());
  for (const table of [over, each, pairTable(chosen)]) await writeTable(output, table);
  await writeFigure(output, {
    name: "1_supports",
    title: "Spread over the supports",
    caption: `${supports.length} cases were the support in turn; each segmented the ${ids.length - 1} others.`,
    svg: supportsSvg(summary, { title: `${dataset.name}, one labeled case` }),
  });
  for (const [k, { which, support, dice }] of notableSupports(summary).entries()) {
    const own = chosen.filter((pair) => pair.support === support);
    await writeFigure(output, {
      name: `${k + 2}_${which}_support`,
      title: `${which[0].toUpperCase()}${which.slice(1)} support: ${support}`,
      caption: `Mean Dice ${
        dice.toFixed(3)
      }. The support with its labels, then the cases that came out worst, in the middle and best.`,
      svg: await supportOverlay(evaluation, support, own),
    });
  }
  await writeReport(output);
  for (const table of [each, over]) printTable(table);
  return told;
}

/** Cases that show all classes, after preparation. */
async function able({ ids, classes, dataset }: Evaluation, store: CaseStore): Promise<string[]> {
  const showing: string[] = [];
  for (const id of ids) {
    const { label } = await store.get(id);
    if (valuesOf(classes).every((value) => label.includes(value))) showing.push(id);
  }
  if (ids.length < 2) {
    throw new ConfigError(
      `${dataset.folder}: ${ids.length} case; one is the support and others are segmented, so name more --cases, ` +
        "or --within",
    );
  }
  if (showing.length === 0) {
    throw new ConfigError(
      `${dataset.folder}: no case shows all of ${classes.map(({ name }) => name).join(", ")}; name fewer --classes`,
    );
  }
  if (showing.length < ids.length) print(`${ids.length - showing.length} cases lack a class and cannot be the support`);
  return showing;
}

const onlyClasses = (item: PreparedCase, classes: readonly ComparedClass[]): PreparedCase => ({
  ...item,
  label: Uint8Array.from(item.label, (value) => (valuesOf(classes).includes(value) ? value : 0)),
});

async function supportOverlay(evaluation: Evaluation, support: string, own: readonly PairResult[]): Promise<string> {
  const { classes, output } = evaluation;
  const { image, label } = await loaded(evaluation, support);
  const shown: OverlayCase[] = [{ name: `${support}, the support`, image, reference: asClasses(label.data, classes) }];
  const level = (pair: PairResult): number => (Number.isNaN(diceOf(pair)) ? 2 : diceOf(pair));
  const ranked = [...own].sort((a, b) => level(a) - level(b));
  const places = new Set(
    Array.from({ length: SHOWN - 1 }, (_, k) => Math.round((k / (SHOWN - 2)) * (ranked.length - 1))),
  );
  for (const place of places) {
    const { id, prediction, classes: measured } = ranked[place];
    const query = await loaded(evaluation, id);
    const found = await readVolume(`${output.path}/${prediction}`);
    shown.push({
      name: id,
      image: query.image,
      reference: asClasses(query.label.data, classes),
      prediction: asClasses(found.data, classes),
      measured,
    });
  }
  return overlaySvg(shown, { labels: namesOf(classes) });
}
