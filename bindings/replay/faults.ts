import * as K from "../core/constants.generated.js";
import { type Granule, levelShift } from "../model/granule.js";
import { bytes } from "../report/numbers.js";
import type { OperationCounts, PolicyComparison, ServiceSummary, TableUse } from "../report/replay.js";
import type { Engine } from "../tables/engine.js";
import { operationName } from "../tables/queue.js";
import type { Stage2Config, Stage2Table } from "../tables/stage2.js";
import type {
  GuestFaultEvent,
  HvaRangeEvent,
  Manifest,
  MarkerEvent,
  ProtectionNumbering,
  ReturnEvent,
  S2MapEvent,
  S2RangeEvent,
  TraceEvent,
} from "../trace/index.js";
import {
  LOG_DIRTY,
  type OperationCount,
  READ_ONLY,
  type Service,
  type SlotRequest,
  VirtualMachine,
} from "../vm/machine.js";
import { Agreement, type KernelService } from "./agreement.js";
import { describeHost, type Host, hostKind } from "./host.js";
import { PolicyOutcomes, type ReplayPolicy } from "./policy.js";
import { type Replayer, tableUse } from "./replayer.js";
import { decodeSyndrome, type Syndrome } from "./syndrome.js";
import { bump } from "./tally.js";

/** The kinds of events that this replay needs: those that it services, and those that it compares with. */
export const FAULT_EVENTS: ReadonlySet<TraceEvent["kind"]> = new Set([
  "guest_fault",
  "unmap_hva",
  "age_hva",
  "test_age_hva",
  "set_spte_hva",
  "toggle_cache",
  "marker",
  "s2_map",
  "s2_relax_perms",
  "s2_mkyoung",
  "s2_unmap",
  "ret",
]);

/** Threads in the middle of a fault, far more than any machine has. */
const MAX_OPEN = 4096;

/** What servicing the faults of a trace needs. */
export interface FaultsOptions {
  readonly table: Stage2Config;
  readonly ipaBits: number;
  readonly numbering: ProtectionNumbering;
  readonly manifest: Manifest | undefined;
  /** Memory slots, where no manifest and no marker tells them. */
  readonly slots: readonly SlotRequest[];
  /** Memory of which nothing is known: anonymous pages, huge pages where they fit, or hugetlb of so many bytes. */
  readonly backing?: { readonly hugetlb: number; readonly thp: boolean } | undefined;
  readonly onTeardown?: ((table: Stage2Table) => void) | undefined;
  /** What is other than in the recording: then the faults are not compared with the kernel's own operations. */
  readonly policy?: ReplayPolicy | undefined;
  /** Called with each fault and what became of it. */
  readonly onFault?: ((event: GuestFaultEvent, outcome: FaultOutcome) => void) | undefined;
}

/** What became of a fault: what the VM did, that the host was changing the page and the guest faulted again, or
 * that it would not have happened under the policy. */
export interface FaultOutcome {
  readonly kind: Service["kind"] | "retried" | "avoided";
  /** Bytes that were mapped, 0 where nothing was. */
  readonly size: number;
}

/**
 * A fault that is being serviced. It stays open until its thread does something else: if that thread invalidates the
 * faulting page first, the host is replacing the page, and the fault must be retried and maps nothing [FLT-24].
 */
interface OpenFault {
  readonly event: GuestFaultEvent;
  kernel: KernelService | undefined;
  /** What the kernel's operation returned; undefined where the recorder had no return probe. */
  returned: number | undefined;
  retried: boolean;
}

/** The sum of what became of the faults, empty. */
function outcomesOf({ backing, dirty, splitChunk }: ReplayPolicy, granule: Granule): PolicyOutcomes {
  const kind = backing && (backing.hugetlb > 0 ? `hugetlb of ${bytes(backing.hugetlb)}` : backing.thp ? "thp" : "page");
  const policy = {
    granule,
    backing: kind ?? RECORDED,
    dirty: dirty ?? RECORDED,
    splitChunk: splitChunk ?? RECORDED,
  } as const;
  return new PolicyOutcomes(
    policy,
    [3, 2, 1].map((level) => 2 ** levelShift(granule, level)),
  );
}

const RECORDED = "recorded";

/** The fault that the access takes here, where the table may be another than the recorded one. */
function here(s: Syndrome, end: { level: number; valid: boolean }): Syndrome {
  if (!end.valid) return { ...s, kind: "translation", level: end.level };
  return { ...s, kind: s.kind === "access flag" ? s.kind : "permission", level: end.level };
}

/** Services the guest's faults on a VM, and does to the VM's memory what the host did. */
export class FaultReplayer implements Replayer {
  readonly #table: Stage2Table<Engine>;
  readonly #vm: VirtualMachine;
  readonly #host: Host;
  readonly #agreement: Agreement;
  readonly #options: FaultsOptions;
  readonly #outcomes: PolicyOutcomes | undefined;
  readonly #open = new Map<number, OpenFault>();
  readonly #services: Record<string, number> = {};
  readonly #notifiers = { met: 0, elsewhere: 0 };
  readonly #dirtyReads = { reads: 0, equal: 0, pages: 0 };
  readonly #levels = { compared: 0, equal: 0 };
  #kernelLines = false;
  #faults = 0;
  /** Has a notifier been seen? Where none was recorded, the kernel's own unmaps take their place. */
  #notified = false;
  /** Slots that were guessed; undefined once the manifest, the caller or a marker has told of slots. */
  #guessed: number | undefined;
  /** Slot calls of the manifest that are still to come; undefined once markers tell of slots. */
  #calls: SlotRequest[] | undefined;
  #asked: SlotRequest | undefined;
  /** The slots that there are, for what the host does to their memory. */
  readonly #regions = new Map<number, SlotRequest>();
  #dirtyAsked: number | undefined;
  /** What was done in all, once the VM is gone. */
  #operations: readonly OperationCount[] | undefined;

  constructor(engine: Engine, options: FaultsOptions) {
    this.#options = options;
    this.#table = engine.createStage2(options.table);
    this.#vm = new VirtualMachine({ table: this.#table, ipaBits: options.ipaBits, ...hostKind(options.manifest) });
    const { manifest, policy } = options;
    const described = policy?.backing === undefined ? manifest : undefined;
    this.#host = describeHost(this.#vm.host, described, this.#table.granule, policy?.backing ?? options.backing);
    this.#vm.manualDirtyLog = manifest?.manualDirtyLog ?? 0;
    this.#vm.eagerSplit = policy?.splitChunk ?? manifest?.eagerSplit ?? 0;
    if (policy?.dirty === "dbm") this.#vm.setStrategy("dbm");
    this.#outcomes = policy && outcomesOf(policy, this.#table.granule);
    this.#agreement = new Agreement(options.numbering);
    this.#calls = options.manifest?.slotCalls.filter((call) => call.rc === 0) ?? [...options.slots];
    this.#guessed = this.#calls.length === 0 ? 0 : undefined;
  }

  /** What was done to the table until now, by name and outcome. */
  get counts(): OperationCounts {
    const counts: OperationCounts = { applied: {}, refused: {}, failed: {}, returns: { agreed: 0, differing: {} } };
    for (const { op, status, count } of this.#operations ?? this.#vm.operations()) {
      const name = operationName(op);
      counts.applied[name] = (counts.applied[name] ?? 0) + count;
      if (status === K.OK) continue;
      const ended = status === K.EAGAIN ? counts.refused : counts.failed;
      ended[`${name} ${status ?? "other"}`] = count;
    }
    return counts;
  }

  event(e: TraceEvent): void {
    switch (e.kind) {
      case "guest_fault":
        this.#guestFault(e);
        break;
      case "mmio":
      case "mmio_nisv":
        this.#device(e.pid);
        break;
      case "userspace_exit":
      case "entry":
        this.#closeFault(e.pid);
        break;
      case "unmap_hva":
        this.#unmapHost(e);
        break;
      case "s2_unmap":
        this.#kernelUnmap(e);
        break;
      case "ret":
        this.#returned(e);
        break;
      case "age_hva":
        this.#closeAll();
        this.#note(this.#vm.age(e.start, e.end, true));
        break;
      case "test_age_hva":
        this.#closeAll();
        this.#note(this.#vm.age(e.hva, e.hva + 1, false));
        break;
      case "set_spte_hva":
        this.#closeAll();
        this.#note(this.#vm.changePage(e.hva));
        break;
      case "toggle_cache":
        this.#closeAll();
        if (e.was !== e.now) this.#vm.cleanCaches();
        break;
      case "s2_map":
      case "s2_relax_perms":
      case "s2_mkyoung":
        this.#kernel(e);
        break;
      case "marker":
        this.#closeAll();
        this.#marker(e);
        break;
    }
  }

  #guestFault(e: GuestFaultEvent): void {
    const open = this.#open.get(e.pid);
    // The same fault again at once: the host was changing memory, and nothing was mapped.
    if (open && open.event.ipa === e.ipa && open.event.esr === e.esr && this.#hostAddress(e) >= 0) open.retried = true;
    this.#closeFault(e.pid);
    if (this.#open.size >= MAX_OPEN) this.#closeAll();
    if (this.#faults++ === 0) this.#callManifest(true);
    this.#open.set(e.pid, { event: e, kernel: undefined, returned: undefined, retried: false });
  }

  /** The fault before this was of a device, whatever a guessed slot says of its address. */
  #device(pid: number): void {
    const open = this.#open.get(pid);
    if (open && !open.kernel && this.#guessed && this.#open.delete(pid)) this.#settled(open.event, "mmio", 0);
    else this.#closeFault(pid);
  }

  #returned(e: ReturnEvent): void {
    const open = this.#open.get(e.pid);
    if (open?.kernel?.kind === e.of) open.returned = e.value;
  }

  #kernel(e: KernelService): void {
    this.#kernelLines = true;
    const open = this.#open.get(e.pid);
    if (open && !open.kernel) open.kernel = e;
    else if (e.kind === "s2_map") this.#agreement.unasked++;
  }

  #closeFault(pid: number): void {
    const open = this.#open.get(pid);
    if (!open) return;
    this.#open.delete(pid);
    const { event, kernel } = open;
    if (open.retried) {
      this.#touch(event);
      this.#settled(event, "retried", 0);
      this.#agreement.retried(event.line, kernel, open.returned);
      return;
    }
    if (kernel?.kind === "s2_map") this.#guessSlot(kernel);
    const syndrome = decodeSyndrome(event.esr);
    const end = this.#look(event.ipa, syndrome);
    if (this.#outcomes && this.#vm.isMemory(event.ipa) && this.#vm.accesses(event.ipa, syndrome)) {
      this.#settled(event, "avoided", 0);
      this.#outcomes.avoided(event.line, event.ipa, 2 ** levelShift(this.#table.granule, end?.level ?? 3));
      return;
    }
    const service = this.#vm.fault(event.ipa, this.#outcomes && end ? here(syndrome, end) : syndrome);
    this.#settled(event, service.kind, service.kind === "map" ? service.size : 0);
    if (this.#outcomes) {
      const kernelSize = kernel?.kind === "s2_map" ? kernel.size : 0;
      this.#outcomes.happened(event.ipa, syndrome, service, end?.valid ?? false, kernelSize);
      return;
    }
    this.#agreement.add(event.line, service, kernel);
    if (!syndrome.write && this.#agreement.showsFilled(service, kernel)) this.#learnFilled(event.ipa);
  }

  /** The VMM had filled the memory of a slot before its guest ran. The page that shows it counts as a difference; the others are known now. */
  #learnFilled(ipa: number): void {
    for (const { flags, gpa, size, hva } of this.#regions.values()) {
      const logs = (flags & (LOG_DIRTY | READ_ONLY)) !== 0;
      if (!logs && ipa >= gpa && ipa < gpa + size) this.#host.memory.fill(hva, hva + size);
    }
  }

  /** Makes, changes or deletes a slot. */
  #setRegion(request: SlotRequest): "done" | "refused" {
    const before = this.#regions.get(request.slot);
    const done = this.#vm.setRegion(request);
    if (done === "refused") {
      this.#outcomes?.unfit();
      return done;
    }
    if (before && before.gpa !== request.gpa) this.#outcomes?.taken(before.gpa, before.size);
    if (request.size === 0) this.#regions.delete(request.slot);
    else this.#regions.set(request.slot, request);
    return done;
  }

  /**
   * Where nobody tells of slots, the kernel's own map shows that there is memory. A slot of one block is made around
   * it. Host addresses are not known; the guest's stand in for them.
   */
  #guessSlot(map: S2MapEvent): void {
    if (this.#guessed === undefined || this.#vm.isMemory(map.ipa)) return;
    const { granule } = this.#table;
    const block = 2 ** levelShift(granule, 2);
    const size = Math.max(block, map.size);
    const gpa = map.ipa - (map.ipa % size);
    if (gpa + size > this.#host.memory.end) return;
    if (!this.#options.backing)
      this.#host.memory.define({ hva: gpa, size, hugetlb: 0, thp: map.size >= block, fresh: false });
    if (this.#setRegion({ slot: this.#guessed, flags: 0, gpa, size, hva: gpa }) === "done") this.#guessed++;
  }

  /** Where does our table end for an address that the hardware could not translate? Emulators err on guest walks. */
  #look(ipa: number, s: Syndrome): { level: number; valid: boolean } | undefined {
    const isCompared = s.kind === "translation" && !s.walk && !this.#outcomes;
    if (!isCompared && !this.#outcomes) return undefined;
    const end = this.#vm.look(ipa);
    if (isCompared) {
      this.#levels.compared++;
      if (end && !end.valid && end.level === s.level) this.#levels.equal++;
    }
    return end;
  }

  #closeAll(): void {
    if (this.#open.size > 0) for (const pid of this.#open.keys()) this.#closeFault(pid);
  }

  #settled(event: GuestFaultEvent, kind: FaultOutcome["kind"], size: number): void {
    bump(this.#services, kind);
    this.#options.onFault?.(event, { kind, size });
  }

  #note(met: boolean): void {
    this.#notifiers[met ? "met" : "elsewhere"]++;
  }

  /** Address in the VMM's memory of the byte that faulted; -1 outside the slots. */
  #hostAddress(e: GuestFaultEvent): number {
    return this.#vm.hostAddress(e.ipa);
  }

  /** The host provides the page although the fault will be repeated [FLT-24]. */
  #touch(e: GuestFaultEvent): void {
    const { write, exec } = decodeSyndrome(e.esr);
    this.#host.memory.touch(this.#hostAddress(e), write, exec);
  }

  /** An invalidation by the faulting thread itself means that the host replaces the very page: the fault is retried. */
  #unmapHost(e: HvaRangeEvent): void {
    this.#notified = true;
    const open = this.#open.get(e.pid);
    const hva = open ? this.#hostAddress(open.event) : -1;
    const own = open !== undefined && hva >= e.start && hva < e.end;
    if (own) {
      open.retried = true;
      // The page that the host copies, or the whole huge page that it splits first.
      this.#host.memory.splitPartly(e.start, e.end);
    }
    for (const pid of this.#open.keys()) if (!own || pid !== e.pid) this.#closeFault(pid);
    const met = this.#vm.invalidate(e.start, e.end);
    this.#note(met);
    if (met && this.#outcomes) this.#taken(e.start, e.end);
    if (met && !own) this.#host.invalidated(e.task, e.start, e.end);
  }

  /** The host took a range of the VMM's memory away from the guest. */
  #taken(start: number, end: number): void {
    for (const { gpa, size, hva } of this.#regions.values()) {
      const from = Math.max(start, hva);
      const to = Math.min(end, hva + size);
      if (from < to) this.#outcomes?.taken(gpa + (from - hva), to - from);
    }
  }

  /** The kernel's own unmap. It is needed only where the notifier that it belongs to says nothing. */
  #kernelUnmap(e: S2RangeEvent): void {
    if (this.#notified && !this.#guessed) return;
    this.#closeAll();
    const met = this.#vm.unmap(e.ipa, e.size);
    this.#outcomes?.taken(e.ipa, e.size);
    for (const { start, end } of met) this.#host.invalidated(e.task, start, end);
  }

  /** Slots that no marker speaks of: those that the VM began with, or the next ones of a kind. */
  #callManifest(first: boolean): void {
    const calls = this.#calls;
    if (!calls) return;
    const seen = new Set<number>();
    const logging = calls[0] ? calls[0].flags & 1 : 0;
    while (calls[0] && (first ? !seen.has(calls[0].slot) : (calls[0].flags & 1) === logging)) {
      const call = calls.shift() as SlotRequest;
      seen.add(call.slot);
      this.#setRegion(call);
    }
  }

  #marker(e: MarkerEvent): void {
    const { note } = e;
    switch (note.type) {
      case "set-region":
        this.#calls = undefined;
        this.#guessed = undefined;
        this.#asked = note;
        break;
      case "set-region-done":
        if (note.rc === 0 && this.#asked?.slot === note.slot) this.#setRegion(this.#asked);
        this.#asked = undefined;
        break;
      case "enable-cap":
        if (note.rc === 0 && note.cap === "MANUAL_DIRTY_LOG_PROTECT2") this.#vm.manualDirtyLog = note.value;
        if (note.rc === 0 && note.cap === "EAGER_SPLIT_CHUNK_SIZE" && this.#options.policy?.splitChunk === undefined)
          this.#vm.eagerSplit = note.value;
        break;
      case "get-dirty-log":
        this.#dirtyAsked = this.#vm.getDirtyLog(note.slot);
        break;
      case "get-dirty-log-done":
        this.#dirtyRead(note.rc, note.dirtyPages);
        break;
      case "clear-dirty-log":
        this.#vm.clearDirtyLog(note.slot, note.firstPage, note.pages);
        break;
      case "monitor":
        // A VMM without markers for its ioctls: what is next in the manifest happens at its monitor's commands.
        this.#callManifest(false);
        break;
      default:
        this.#host.marker(note);
    }
  }

  #dirtyRead(rc: number, pages: number): void {
    if (rc !== 0 || this.#dirtyAsked === undefined) return;
    this.#dirtyReads.reads++;
    this.#dirtyReads.pages += this.#dirtyAsked;
    if (this.#dirtyAsked === pages) this.#dirtyReads.equal++;
    this.#dirtyAsked = undefined;
  }

  get vms(): number {
    return 1;
  }

  get dirty(): Readonly<Record<string, number>> {
    return { ...this.#dirtyReads, ...this.#vm.log };
  }

  get comparison(): PolicyComparison | undefined {
    return this.#outcomes?.summary();
  }

  /** What became of the faults, and how often the kernel did the same. */
  get service(): ServiceSummary {
    const agreement = this.#kernelLines && !this.#outcomes ? { agreement: this.#agreement.summary() } : {};
    return {
      faults: { ...this.#services },
      slots: { known: this.#vm.mostSlots, guessed: (this.#guessed ?? 0) > 0 },
      notifiers: { ...this.#notifiers },
      levels: { ...this.#levels },
      ...agreement,
    };
  }

  perform(): void {
    // Nothing is queued: a service is done at once.
  }

  flush(): void {
    this.#closeAll();
  }

  tables(): Stage2Table<Engine>[] {
    return [this.#table];
  }

  finish(): TableUse {
    this.flush();
    this.#options.onTeardown?.(this.#table);
    const use = tableUse(this.#table);
    this.#operations = this.#vm.operations();
    this.#vm.close();
    return use;
  }
}
