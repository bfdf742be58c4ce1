/** Which fields of a DICOM file identify a patient. */
import type { DataSet } from "./dicom_file.ts";
import { valueBytes } from "./dicom_file.ts";

/** Those that PS3.15 (annex E) removes or replaces and that scans commonly hold, by tag. */
const FIELDS: Readonly<Record<string, string>> = {
  x00080050: "AccessionNumber",
  x00080080: "InstitutionName",
  x00080081: "InstitutionAddress",
  x00080090: "ReferringPhysicianName",
  x00080094: "ReferringPhysicianTelephoneNumbers",
  x00081010: "StationName",
  x00081030: "StudyDescription",
  x0008103e: "SeriesDescription",
  x00081040: "InstitutionalDepartmentName",
  x00081048: "PhysiciansOfRecord",
  x00081050: "PerformingPhysicianName",
  x00081060: "NameOfPhysiciansReadingStudy",
  x00081070: "OperatorsName",
  x00081080: "AdmittingDiagnosesDescription",
  x00100010: "PatientName",
  x00100020: "PatientID",
  x00100030: "PatientBirthDate",
  x00100032: "PatientBirthTime",
  x00101000: "OtherPatientIDs",
  x00101001: "OtherPatientNames",
  x00101002: "OtherPatientIDsSequence",
  x00101005: "PatientBirthName",
  x00101010: "PatientAge",
  x00101040: "PatientAddress",
  x00101060: "PatientMotherBirthName",
  x00102154: "PatientTelephoneNumbers",
  x00102160: "EthnicGroup",
  x00102180: "Occupation",
  x001021b0: "AdditionalPatientHistory",
  x00104000: "PatientComments",
  x00181000: "DeviceSerialNumber",
  x00181030: "ProtocolName",
  x00200010: "StudyID",
  x00204000: "ImageComments",
  x00321032: "RequestingPhysician",
  x00321060: "RequestedProcedureDescription",
  x00380010: "AdmissionID",
  x00400253: "PerformedProcedureStepID",
  x00400254: "PerformedProcedureStepDescription",
};

/** Names of the identifying fields of a file that hold something; never what they hold. */
export function identifyingFields(elements: DataSet): string[] {
  const found = Object.keys(FIELDS).filter((tag) => {
    const { items } = elements.elements[tag] ?? {};
    return items ? items.length > 0 : valueBytes(elements, tag)?.some((byte) => byte !== 32 && byte !== 0);
  });
  const names = found.map((tag) => FIELDS[tag]);
  const isPrivate = (tag: string): boolean => parseInt(tag[4], 16) % 2 === 1 && tag !== "x00020102";
  if (Object.keys(elements.elements).some(isPrivate)) names.push("private elements");
  return names;
}
