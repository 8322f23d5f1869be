import {
  AnswerView,
  EngineInfoView,
  JournalInfoView,
  LimboInfoView,
  RangeStepView,
  TableInfoView,
  UnlinkedView,
  WalkerInfoView,
} from "../core/record-views.generated.js";
import { BurialView, ScanEndView } from "../core/table-views.generated.js";
import type { Words } from "../core/view.js";

/** A walker's result block in each of its readings: what the last call answered. The next call writes over it. */
export class Results {
  readonly answer: AnswerView;
  readonly engine: EngineInfoView;
  readonly journal: JournalInfoView;
  readonly table: TableInfoView;
  readonly unlinked: UnlinkedView;
  readonly limbo: LimboInfoView;
  readonly walker: WalkerInfoView;
  readonly burial: BurialView;
  readonly rangeStep: RangeStepView;
  readonly scanEnd: ScanEndView;

  constructor(words: Words, pointer: number) {
    this.answer = new AnswerView(words, pointer);
    this.engine = new EngineInfoView(words, pointer);
    this.journal = new JournalInfoView(words, pointer);
    this.table = new TableInfoView(words, pointer);
    this.unlinked = new UnlinkedView(words, pointer);
    this.limbo = new LimboInfoView(words, pointer);
    this.walker = new WalkerInfoView(words, pointer);
    this.burial = new BurialView(words, pointer);
    this.rangeStep = new RangeStepView(words, pointer);
    this.scanEnd = new ScanEndView(words, pointer);
  }
}
